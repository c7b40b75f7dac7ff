"""``amop sessions``: list optimization sessions; cancel one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from amop.cli.known_ids import warehouse_with
from amop.cli.output import MOST_ROWS, AsJson, print_json, print_table, print_text
from amop.maintenance import operations
from amop.maintenance.store.status import ListedSession
from amop.optimization.known_changes import known_change_notes
from amop.plan_changes.rules import ChangesStatus

app = typer.Typer(no_args_is_help=True, help="List optimization sessions; cancel one.")

SessionId = Annotated[int, typer.Argument(min=1, help="Id of the session, as `sessions list` shows it.")]
Provider = Annotated[int | None, typer.Option("--provider", min=1, help="Only sessions of this service provider id.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MOST_ROWS, help="Maximum number of rows.")]
Reason = Annotated[str, typer.Option("--reason", help="Stored as the error, and sent to AMOP.")]

NOT_SENT = {ChangesStatus.STOPPED, ChangesStatus.NO_GO, ChangesStatus.REJECTED, ChangesStatus.SUPERSEDED}
"""States of plan changes whose reason stands above the figures."""

COLUMNS = (
    "id",
    "service_provider",
    "status",
    "progress",
    "started_at",
    "heartbeat_at",
    "undelivered_messages",
    "error",
)


@app.command("list")
def list_command(provider: Provider = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the latest optimization sessions, newest first."""
    conninfo = warehouse_with(provider=provider)
    found = [asdict(each) for each in operations.list_sessions(conninfo, service_provider_id=provider, limit=limit)]
    if as_json:
        print_json(found)
    else:
        print_table("Optimization sessions", COLUMNS, [[each[name] for name in COLUMNS] for each in found])


@app.command("show")
def show_command(session_id: SessionId, as_json: AsJson = False) -> None:
    """Show everything about a session."""
    found = operations.find_session(warehouse_with(session=session_id), session_id)
    session = asdict(found)
    if as_json:
        print_json(session)
        return
    for line in _first_lines(found):
        print_text(line)
    print_table(f"Optimization session {session_id}", ("", "value"), list(session.items()))


def _first_lines(session: ListedSession) -> list[str]:
    """Return what to know of a session before its figures: why it ended, what stopped its changes, its plans."""
    lines = [] if session.error is None else [f"{session.status.capitalize()}: {session.error}"]
    if session.changes_status in NOT_SENT:
        lines.append(f"Plan changes {session.changes_status.replace('_', ' ')}: {session.changes_reason}")
    return lines + known_change_notes(session.applied_plan_count, session.change_in_doubt_count)


@app.command("cancel")
def cancel_command(session_id: SessionId, reason: Reason = "Cancelled by an operator") -> None:
    """Cancel a running session, with one ErrorMessage to AMOP; none is opened in its place on the same day."""
    session = operations.cancel_session(warehouse_with(session=session_id), session_id, reason)
    print_text(
        f"session {session_id} of {session.service_provider} ({session.service_provider_id}) is {session.status} at "
        f"{session.progress} %; AMOP gets one ErrorMessage"
    )
