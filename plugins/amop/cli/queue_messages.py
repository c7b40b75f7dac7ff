"""``amop messages``: the messages of other systems on the device notification queue, and a check of their staging."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from psycopg.types.json import Jsonb

from amop import ids
from amop.cli.connection import warehouse_conninfo
from amop.cli.known_ids import warehouse_with
from amop.cli.output import MOST_ROWS, AsJson, print_json, print_table, print_text
from amop.database.connection import connect
from amop.device_sync.store import reports
from amop.families import identifier_rules
from amop.messages import store

COLUMNS = ("received_at", "message_id", "outcome", "run_id", "deliveries", "dag_run_id", "reason")


class Outcome(StrEnum):
    """What became of a message."""

    STARTED = "started"
    IGNORED = "ignored"
    REJECTED = "rejected"


def received_command(
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only messages with this outcome.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="Maximum number of messages.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show the received queue messages, the newest first, and what became of each; --json includes the attributes."""
    with connect(warehouse_conninfo(), application_name="amop messages") as connection:
        wanted = None if outcome is None else str(outcome)
        messages = store.received_messages(connection, dag_run_id=None, outcome=wanted, most=limit)
    if as_json:
        print_json([asdict(message) for message in messages])
        return
    print_table("Queue messages", COLUMNS, ([getattr(message, name) for name in COLUMNS] for message in messages))


def check_command(
    run: Annotated[int, typer.Argument(min=1, help="device_sync_run id that the existing system has opened.")],
    as_json: AsJson = False,
) -> None:
    """Check the staging of the existing system against docs/staging-contract.md; exit 1 if it cannot be merged."""
    with connect(warehouse_with(run=run), application_name="amop messages") as connection:
        faults = reports.staging_faults(
            connection, run_id=run, dag_id=ids.DEVICE_NOTIFICATION_DAG, identifiers=Jsonb(identifier_rules())
        )
    if as_json:
        print_json(faults)
    else:
        print_text("\n".join(faults) if faults else f"run {run}: the staging is complete and can be merged")
    if faults:
        raise typer.Exit(1)
