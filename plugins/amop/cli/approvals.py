"""``bin/amop approvals``: list and answer pending approval requests, through Airflow's REST API.

The answer is the same as from Airflow's *Required Actions* page: Airflow records the user and the time, and the waiting
run continues with it.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import requests
import typer

from amop import ids
from amop.carriers.http_connection import HttpConnectionError, read_http_connection
from amop.cli.output import print_text

TIMEOUT_SECONDS = 30
PAGE_SIZE = 100
TEXT_LENGTH = 300
DAGS = ids.carrier_optimization_dag("")
WAITING_STATES = ("awaiting_input", "deferred")

app = typer.Typer(no_args_is_help=True, help="List and answer approval requests for rate plan changes.")


class ApprovalError(RuntimeError):
    """Airflow cannot be reached, or refuses the answer; the message has the reason and the remedy."""


class AirflowApprovals:
    """The human-in-the-loop part of Airflow's REST API v2, for the approvals of plan changes.

    Args:
        address: scheme, host and port of the api-server, with its path where it has one.
        token: token of a user who may edit the DAG's task instances; None = request one.
        user: user to request a token with; None = request it without a user, as in the sandbox.
        password: password of that user.

    Raises:
        ApprovalError: the address is malformed, has no TLS and is not local, or gives no token.
    """

    def __init__(
        self, address: str, *, token: str | None = None, user: str | None = None, password: str | None = None
    ) -> None:
        try:
            connection = read_http_connection(address, None, None, {})
        except HttpConnectionError as error:
            raise ApprovalError(f"{ids.AIRFLOW_URL_SETTING}: {error}") from None
        self._address = connection.base_url
        self._session = requests.Session()
        self._session.trust_env = not connection.is_loopback
        self._session.headers["Authorization"] = f"Bearer {token or self._new_token(user, password)}"

    def pending(self) -> list[dict[str, Any]]:
        """Return the pending approval requests, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._request(
                "GET",
                "/dags/~/dagRuns/~/hitlDetails",
                None,
                response_received="false",
                state=WAITING_STATES,
                dag_id_prefix_pattern=DAGS,
                task_id=ids.APPROVE_CHANGES_TASK,
                order_by="created_at",
                limit=PAGE_SIZE,
                offset=len(found),
            )
            found += page["hitl_details"]
            if not page["hitl_details"] or len(found) >= page["total_entries"]:
                return [_approval(detail) for detail in found]

    def find(self, run: str) -> dict[str, Any]:
        """Return the pending approval request of a run.

        Args:
            run: a DAG run's id such as ``session_12``, or ``<dag id>/<run id>``.

        Raises:
            ApprovalError: there is none, or there are several; the message names the pending ones.
        """
        pending = self.pending()
        found = [one for one in pending if run in {one["run_id"], _name(one)}]
        if not found:
            raise ApprovalError(
                f"no approval request of run {run!r} is pending: it was answered, withdrawn by a newer optimization, "
                f"or its time is over. Pending: {', '.join(map(_name, pending)) or 'none'}"
            )
        if len(found) > 1:
            raise ApprovalError(f"run {run!r} is not unique, name the DAG as well: {', '.join(map(_name, found))}")
        return found[0]

    def respond(self, run: str, option: str, comment: str = "") -> dict[str, Any]:
        """Answer the approval request of a run; return Airflow's record of the answer.

        Args:
            run: as for `find`.
            option: ``Approve`` or ``Reject``.
            comment: stored with the answer.

        Raises:
            ApprovalError: no such request is pending, it was answered already, or this user may not answer.
        """
        request = self.find(run)
        dag_id, run_id, task_id = (quote(request[key], safe="") for key in ("dag_id", "run_id", "task_id"))
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{request['map_index']}/hitlDetails"
        body = {"chosen_options": [option], "params_input": {ids.APPROVAL_COMMENT: comment}}
        return self._request("PATCH", path, body)

    def _new_token(self, user: str | None, password: str | None) -> str:
        if user is not None:
            answer = self._send("POST", "/auth/token", {"username": user, "password": password or ""})
        else:
            answer = self._send("GET", "/auth/token", None)
        if not answer.ok:
            raise ApprovalError(
                f"Airflow gives no token ({answer.status_code}); set {ids.AIRFLOW_TOKEN_SETTING}, or "
                f"{ids.AIRFLOW_USER_SETTING} and {ids.AIRFLOW_PASSWORD_SETTING}"
            )
        return str(_document(answer).get("access_token", ""))

    def _request(self, method: str, path: str, body: dict[str, Any] | None, **query: Any) -> dict[str, Any]:
        answer = self._send(method, f"/api/v2{path}", body, **query)
        if answer.ok:
            return _document(answer)
        detail = str(_document(answer, needed=False).get("detail") or answer.reason)[:TEXT_LENGTH]
        what = {
            401: f"Airflow refused the token (401): set a new {ids.AIRFLOW_TOKEN_SETTING}",
            403: f"this user may not answer (403): {detail}",
            404: f"there is no such approval request (404): {detail}",
            409: "the request was answered already (409)",
        }.get(answer.status_code, f"Airflow returned {answer.status_code}: {detail}")
        raise ApprovalError(what)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, **query: Any) -> requests.Response:
        try:
            return self._session.request(
                method,
                f"{self._address}{path}",
                json=body,
                params=query,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ApprovalError(
                f"Airflow cannot be reached at {self._address} ({type(error).__name__}); set {ids.AIRFLOW_URL_SETTING}"
            ) from None


def _document(answer: requests.Response, *, needed: bool = True) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    if needed:
        raise ApprovalError(f"{answer.url.partition('?')[0]} is not Airflow's API: set {ids.AIRFLOW_URL_SETTING}")
    return {}


def _approval(detail: dict[str, Any]) -> dict[str, Any]:
    task = detail["task_instance"]
    return {
        "dag_id": task["dag_id"],
        "run_id": task["dag_run_id"],
        "task_id": task["task_id"],
        "map_index": task["map_index"],
        "subject": detail["subject"],
        "requested_at": detail["created_at"],
        "body": detail["body"],
    }


def _name(approval: dict[str, Any]) -> str:
    return f"{approval['dag_id']}/{approval['run_id']}"


def _airflow() -> AirflowApprovals:
    address = os.environ.get(ids.AIRFLOW_URL_SETTING) or os.environ.get("AIRFLOW__API__BASE_URL")
    if not address:
        raise ApprovalError(f"set {ids.AIRFLOW_URL_SETTING} to Airflow's address, like https://airflow.example.com")
    return AirflowApprovals(
        address,
        token=os.environ.get(ids.AIRFLOW_TOKEN_SETTING),
        user=os.environ.get(ids.AIRFLOW_USER_SETTING),
        password=os.environ.get(ids.AIRFLOW_PASSWORD_SETTING),
    )


Run = Annotated[str, typer.Argument(help="Run id as `list` shows it, such as session_12; or DAG_ID/RUN_ID.")]
Comment = Annotated[str, typer.Option("--comment", help="Stored with the answer.")]


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, bodies included, as JSON.")] = False,
) -> None:
    """Show the pending approval requests: run, time of the request, and subject."""
    pending = _airflow().pending()
    if as_json:
        typer.echo(json.dumps(pending, indent=2))
        return
    for one in pending:
        requested_at = datetime.fromisoformat(one["requested_at"])
        print_text(f"{_name(one)}  since {requested_at:%Y-%m-%d %H:%M} UTC  {one['subject']}")
    if not pending:
        print_text("no approval request is pending")


@app.command("show")
def show_command(run: Run) -> None:
    """Print an approval request in full: the plan changes, summed up, and their savings."""
    request = _airflow().find(run)
    print_text(f"{request['subject']}\n\n{request['body']}")


@app.command("approve")
def approve_command(run: Run, comment: Comment = "") -> None:
    """Approve the plan changes of a run: they are applied."""
    _respond(run, ids.APPROVE, comment)


@app.command("reject")
def reject_command(run: Run, comment: Comment = "") -> None:
    """Reject the plan changes of a run: nothing is applied."""
    _respond(run, ids.REJECT, comment)


def _respond(run: str, option: str, comment: str) -> None:
    answer = _airflow().respond(run, option, comment)
    by = answer.get("responded_by") or {}
    print_text(f"{run}: {option.lower()} by {by.get('name') or by.get('id') or 'this user'}")
