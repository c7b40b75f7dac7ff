"""``amop carriers``: list the carriers that are failing; probe them at once."""

from __future__ import annotations

from dataclasses import asdict

import typer

from amop.carriers import call_gate
from amop.cli.connection import warehouse_conninfo
from amop.cli.output import AsJson, print_json, print_table, print_text
from amop.wording import several

COLUMNS = ("account", "failures", "failing_since", "open_until", "last_failure")

app = typer.Typer(no_args_is_help=True, help="List the carriers that are failing; probe them at once.")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Show the accounts whose carrier is failing, since when, and when the next call is made."""
    found = call_gate.failing_api_users(warehouse_conninfo())
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        print_table("Failing carriers", COLUMNS, [[getattr(each, name) for name in COLUMNS] for each in found])


@app.command("probe")
def probe_command() -> None:
    """Let the next call probe every failing carrier at once, for instance after it has reported its recovery."""
    count = call_gate.allow_next_call(warehouse_conninfo())
    accounts = several(count, "API user may call its carrier", "API users may call their carriers")
    print_text(f"{accounts} again now. A task that is already waiting tries again when its own wait ends")
