"""``bin/amop quarantine``: what was set aside and why, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from amop.pipeline.quarantine_retry import list_records, retry_records
from amop.warehouse.quarantine import QuarantineFilter

PrintTable = Callable[[str, Iterable[str], Iterable[Sequence[Any]]], None]


class Kind(StrEnum):
    """What a record in quarantine is about."""

    DEVICE = "device"
    USAGE = "usage"


Provider = Annotated[int | None, typer.Option("--provider", min=1, help="Only this service provider's id.")]
Run = Annotated[int | None, typer.Option("--run", min=1, help="Only this device_sync_run's id.")]
OfKind = Annotated[Kind | None, typer.Option("--kind", help="Only SIMs of the device list, or only usage.")]
Ids = Annotated[list[int] | None, typer.Option("--id", min=1, help="Only this record; may be given again.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON list.")]

LISTED_COLUMNS = (
    "id", "service_provider", "run_id", "kind", "record_key", "quarantined_at", "reason", "resolution",
)  # fmt: skip
RETRIED_COLUMNS = ("id", "service_provider", "run_id", "kind", "record", "outcome", "reason")


def quarantine_commands(warehouse_conninfo: Callable[[], str], print_table: PrintTable) -> typer.Typer:
    """Return the commands, given how the command line finds its warehouse and prints a table."""
    commands = typer.Typer(help="Records that could not be used: list them, bring them back.", no_args_is_help=True)

    @commands.command("list")
    def list_command(
        provider: Provider = None,
        run: Run = None,
        kind: OfKind = None,
        ids: Ids = None,
        with_resolved: Annotated[bool, typer.Option("--all", help="Also what was merged or superseded since.")] = False,
        limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
        as_json: AsJson = False,
    ) -> None:
        """Show the records in quarantine with the rule that each broke; --json shows the raw ones, too."""
        wanted = QuarantineFilter(provider, run, kind, ids or (), with_resolved, limit)
        records = list_records(warehouse_conninfo(), wanted)
        if as_json:
            typer.echo(json.dumps(records, indent=2, default=_as_json))
            return
        print_table("Quarantine", LISTED_COLUMNS, ([record[name] for name in LISTED_COLUMNS] for record in records))
        if len(records) == limit:
            typer.echo(f"there may be more than {limit}: narrow it, or raise --limit")

    @commands.command("retry")
    def retry_command(
        provider: Provider = None, run: Run = None, kind: OfKind = None, ids: Ids = None, as_json: AsJson = False
    ) -> None:
        """Judge records by the present rules and merge those that pass; nothing newer is overwritten."""
        outcomes = retry_records(
            warehouse_conninfo(), QuarantineFilter(provider, run, kind, ids or ()), now=datetime.now(UTC)
        )
        if as_json:
            typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
            return
        rows = (
            (
                outcome.id, outcome.service_provider, outcome.run_id, outcome.kind, outcome.record,
                "merged" if outcome.is_merged else "stays", outcome.reason,
            )
            for outcome in outcomes
        )  # fmt: skip
        print_table("Quarantine, tried again", RETRIED_COLUMNS, rows)
        merged = sum(outcome.is_merged for outcome in outcomes)
        typer.echo(f"{merged} merged, {len(outcomes) - merged} stay in quarantine")

    return commands


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
