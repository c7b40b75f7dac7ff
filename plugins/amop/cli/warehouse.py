"""``amop migrate`` and ``amop load-reference``: the tables of the warehouse and its reference data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amop.cli.connection import warehouse_conninfo
from amop.cli.output import AsJson, print_json, print_table, print_text
from amop.database.migrations import migrate
from amop.reference.load import load_reference

COUNTS = ("inserted", "updated", "unchanged", "removed", "not_in_file")


def migrate_command() -> None:
    """Create or update the tables of the warehouse. Repeated and concurrent calls are safe."""
    names = migrate(warehouse_conninfo())
    for name in names:
        print_text(f"applied {name}")
    if not names:
        print_text("nothing to do: the warehouse is up to date")


def load_reference_command(
    file: Annotated[Path, typer.Argument(help="YAML file: tenants, providers, rate plans, communication plans.")],
    allow_implausible: Annotated[
        bool,
        typer.Option("--allow-implausible", help="Load prices that change by more than maximum_price_factor."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load a reference file: all of it or nothing. Only changed rows are written."""
    counts = load_reference(warehouse_conninfo(), file, allow_implausible=allow_implausible)
    if as_json:
        print_json(counts)
        return
    rows = [(table, *(numbers.get(name, "") for name in COUNTS)) for table, numbers in counts.items()]
    print_table(f"Loaded {file.name}", ("table", *COUNTS), rows)
