"""``amop periods``: list the billing periods of a provider."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from amop.cli.known_ids import warehouse_with
from amop.cli.output import MOST_ROWS, AsJson, print_json, print_table
from amop.reference.billing_periods import list_billing_periods
from amop.reference.store import ListedBillingPeriod

app = typer.Typer(no_args_is_help=True, help="List the billing periods of a provider.")


@app.command("list")
def list_command(
    provider: Annotated[int, typer.Option("--provider", min=1, help="Service provider id.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST_ROWS, help="Maximum number of rows.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Show the billing periods of a provider, newest first; their ids are those of the optimization's form."""
    found = list_billing_periods(warehouse_with(provider=provider), provider, limit=limit)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        columns = list(ListedBillingPeriod.__dataclass_fields__)
        print_table("Billing periods", columns, [list(asdict(each).values()) for each in found])
