"""``amop quarantine``: list the quarantined records and requeue them."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from amop.cli.known_ids import warehouse_with
from amop.cli.output import MOST_ROWS, AsJson, print_json, print_table, print_text
from amop.clock import utc_now
from amop.device_sync.quarantine import QuarantineFilter, list_records
from amop.device_sync.quarantine_retry import retry_records


class Kind(StrEnum):
    """The subject of a quarantined record."""

    DEVICE = "device"
    USAGE = "usage"


Provider = Annotated[int | None, typer.Option("--provider", min=1, help="Only records of this service provider id.")]
Run = Annotated[int | None, typer.Option("--run", min=1, help="Only records of this device_sync_run id.")]
OfKind = Annotated[Kind | None, typer.Option("--kind", help="Only records of the device list, or only usage records.")]
Ids = Annotated[list[int] | None, typer.Option("--id", min=1, help="Only this record; may be repeated.")]

LISTED_COLUMNS = (
    "id",
    "service_provider",
    "run_id",
    "kind",
    "record_key",
    "quarantined_at",
    "reason",
    "resolution",
)
RETRIED_COLUMNS = ("id", "service_provider", "run_id", "kind", "record", "outcome", "reason")

app = typer.Typer(help="List the records that failed validation, and validate them again.", no_args_is_help=True)


@app.command("list")
def list_command(
    provider: Provider = None,
    run: Run = None,
    kind: OfKind = None,
    ids: Ids = None,
    with_resolved: Annotated[
        bool, typer.Option("--all", help="Include records that were merged or superseded since.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="Maximum number of records.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Show the quarantined records and the rule that each violates; --json includes the raw records."""
    wanted = QuarantineFilter(provider, run, kind, ids or (), with_resolved, limit)
    records = list_records(warehouse_with(provider=provider, run=run, records=ids or ()), wanted)
    if as_json:
        print_json([asdict(record) for record in records])
        return
    rows = ([getattr(record, name) for name in LISTED_COLUMNS] for record in records)
    print_table("Quarantine", LISTED_COLUMNS, rows)
    if len(records) == limit:
        print_text(f"there may be more than {limit} records: narrow the filter, or raise --limit")


@app.command("retry")
def retry_command(
    provider: Provider = None, run: Run = None, kind: OfKind = None, ids: Ids = None, as_json: AsJson = False
) -> None:
    """Validate records by the present rules and merge the valid ones; newer data is never overwritten."""
    conninfo = warehouse_with(provider=provider, run=run, records=ids or ())
    outcomes = retry_records(conninfo, QuarantineFilter(provider, run, kind, ids or ()), now=utc_now())
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
        return
    rows = (
        (
            outcome.id,
            outcome.service_provider,
            outcome.run_id,
            outcome.kind,
            outcome.record,
            "merged" if outcome.is_merged else "kept",
            outcome.reason,
        )
        for outcome in outcomes
    )
    print_table("Quarantine, validated again", RETRIED_COLUMNS, rows)
    merged = sum(outcome.is_merged for outcome in outcomes)
    print_text(f"{merged} merged, {len(outcomes) - merged} kept in quarantine")
