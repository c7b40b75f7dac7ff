"""``bin/amop approvals``: see and answer the approvals that wait, through Airflow's REST API.

The answer is Airflow's own, as from its *Required Actions* page: who gave it and when is recorded by Airflow, and what
follows is done by the run that waits.
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
from amop.domain.http_connection import HttpConnectionError, read_http_connection

TIMEOUT_SECONDS = 30
PAGE_SIZE = 100
TEXT_LENGTH = 300
DAGS = ids.carrier_optimization_dag("")
WAITING_STATES = ("awaiting_input", "deferred")

app = typer.Typer(no_args_is_help=True, help="See and answer the approvals of rate plan changes that wait in Airflow.")


class ApprovalError(RuntimeError):
    """Airflow cannot be asked, or does not take the answer; the message says why and what to do."""


class AirflowApprovals:
    """The human-in-the-loop part of Airflow's REST API v2, for the approvals of plan changes.

    Args:
        address: scheme, host and port of the api-server, with its path where it has one.
        token: of a user who may edit the DAG's task instances; None = asked for.
        user: for asking; None = the sandbox's way, without a user.
        password: of that user.

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
        """Return the approvals that wait for an answer, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._request(
                "GET", "/dags/~/dagRuns/~/hitlDetails", None,
                response_received="false", state=WAITING_STATES, dag_id_prefix_pattern=DAGS,
                task_id=ids.APPROVE_CHANGES_TASK, order_by="created_at", limit=PAGE_SIZE, offset=len(found),
            )  # fmt: skip
            found += page["hitl_details"]
            if not page["hitl_details"] or len(found) >= page["total_entries"]:
                return [_approval(detail) for detail in found]

    def find(self, run: str) -> dict[str, Any]:
        """Return the approval of a run that waits.

        Args:
            run: a DAG run's id such as ``session_12``, or ``<dag id>/<run id>``.

        Raises:
            ApprovalError: none waits, or several do; the message names those that wait.
        """
        pending = self.pending()
        found = [one for one in pending if run in {one["run_id"], _name(one)}]
        if not found:
            raise ApprovalError(
                f"no approval of run {run!r} waits: it was answered, was taken back by a newer optimization, or its "
                f"time is over. Waiting: {', '.join(map(_name, pending)) or 'none'}"
            )
        if len(found) > 1:
            raise ApprovalError(f"run {run!r} is not unique, name the DAG as well: {', '.join(map(_name, found))}")
        return found[0]

    def respond(self, run: str, option: str, comment: str = "") -> dict[str, Any]:
        """Answer the approval of a run; return Airflow's record of the answer.

        Args:
            run: as for `find`.
            option: ``Approve`` or ``Reject``.
            comment: kept with the answer.

        Raises:
            ApprovalError: no such approval waits, it was answered already, or this user may not answer.
        """
        asked = self.find(run)
        dag_id, run_id, task_id = (quote(asked[key], safe="") for key in ("dag_id", "run_id", "task_id"))
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{asked['map_index']}/hitlDetails"
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
        said = str(_document(answer, needed=False).get("detail") or answer.reason)[:TEXT_LENGTH]
        what = {
            401: f"Airflow does not know who asks (401): set {ids.AIRFLOW_TOKEN_SETTING} anew",
            403: f"this user may not answer (403): {said}",
            404: f"no such approval (404): {said}",
            409: "somebody has answered already (409)",
        }.get(answer.status_code, f"Airflow answered {answer.status_code}: {said}")
        raise ApprovalError(what)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, **query: Any) -> requests.Response:
        try:
            return self._session.request(
                method, f"{self._address}{path}", json=body, params=query, timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )  # fmt: skip
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
        "asked_at": detail["created_at"],
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
Comment = Annotated[str, typer.Option("--comment", help="Kept with the answer.")]


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, bodies included, as JSON.")] = False,
) -> None:
    """Show the approvals that wait: run, since when, and what is asked."""
    pending = _airflow().pending()
    if as_json:
        typer.echo(json.dumps(pending, indent=2))
        return
    for one in pending:
        asked = datetime.fromisoformat(one["asked_at"])
        typer.echo(f"{_name(one)}  since {asked:%Y-%m-%d %H:%M} UTC  {one['subject']}")
    if not pending:
        typer.echo("no approval waits")


@app.command("show")
def show_command(run: Run) -> None:
    """Print what is asked in full: the plan changes, summed up, and what they save."""
    asked = _airflow().find(run)
    typer.echo(f"{asked['subject']}\n\n{asked['body']}")


@app.command("approve")
def approve_command(run: Run, comment: Comment = "") -> None:
    """Let the plan changes of a run be applied."""
    _respond(run, ids.APPROVE, comment)


@app.command("reject")
def reject_command(run: Run, comment: Comment = "") -> None:
    """Let nothing of a run be applied."""
    _respond(run, ids.REJECT, comment)


def _respond(run: str, option: str, comment: str) -> None:
    answer = _airflow().respond(run, option, comment)
    by = answer.get("responded_by") or {}
    typer.echo(f"{run}: {option.lower()} by {by.get('name') or by.get('id') or 'this user'}")
