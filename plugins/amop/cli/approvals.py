"""``bin/amop approvals``: list and answer pending approval requests, through Airflow's REST API.

The answer is the same as from Airflow's *Required Actions* page: Airflow records the user and the time, and the waiting
run continues with it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import typer

from amop import ids
from amop.cli.airflow_client import AirflowClient, AirflowError
from amop.cli.output import print_markdown, print_text

PAGE_SIZE = 100
DAGS = ids.carrier_optimization_dag("")
WAITING_STATES = ("awaiting_input", "deferred")

app = typer.Typer(no_args_is_help=True, help="List and answer approval requests for rate plan changes.")


class ApprovalError(AirflowError):
    """Airflow cannot be reached, or refuses the answer; the message has the reason and the remedy."""


class AirflowApprovals(AirflowClient):
    """The human-in-the-loop part of Airflow's REST API v2, for the approvals of plan changes.

    Raises:
        ApprovalError: the address is malformed, has no TLS and is not local, or gives no token.
    """

    error: ClassVar[type[AirflowError]] = ApprovalError
    refusals: ClassVar[dict[int, str]] = {
        403: "this user may not answer (403)",
        404: "there is no such approval request (404)",
        409: "the request was answered already (409)",
    }

    def pending(self) -> list[dict[str, Any]]:
        """Return the pending approval requests, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.request(
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
        return self.request("PATCH", path, body)


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


Run = Annotated[str, typer.Argument(help="Run id as `list` shows it, such as session_12; or DAG_ID/RUN_ID.")]
Comment = Annotated[str, typer.Option("--comment", help="Stored with the answer.")]


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, bodies included, as JSON.")] = False,
) -> None:
    """Show the pending approval requests: run, time of the request, and subject."""
    pending = AirflowApprovals.from_environment().pending()
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
    request = AirflowApprovals.from_environment().find(run)
    print_text(request["subject"])
    print_text("")
    print_markdown(request["body"])


@app.command("approve")
def approve_command(run: Run, comment: Comment = "") -> None:
    """Approve the plan changes of a run: they are applied."""
    _respond(run, ids.APPROVE, comment)


@app.command("reject")
def reject_command(run: Run, comment: Comment = "") -> None:
    """Reject the plan changes of a run: nothing is applied."""
    _respond(run, ids.REJECT, comment)


def _respond(run: str, option: str, comment: str) -> None:
    answer = AirflowApprovals.from_environment().respond(run, option, comment)
    by = answer.get("responded_by") or {}
    print_text(f"{run}: {option.lower()} by {by.get('name') or by.get('id') or 'this user'}")
