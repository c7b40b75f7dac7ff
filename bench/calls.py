"""Call a carrier as one of several processes of the same API user: ``python -m bench.calls CONNINFO URL CALLS``."""

from __future__ import annotations

from typing import Annotated

import typer

from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from bench.account import account_of
from bench.sync_process import NOW


def main(
    conninfo: Annotated[str, typer.Argument(help="Migrated warehouse.")],
    base_url: Annotated[str, typer.Argument(help="Address of the carrier.")],
    calls: Annotated[int, typer.Argument(help="Number of calls.")],
    calls_per_second: Annotated[float, typer.Option(help="Limit that the gate keeps.")] = 5.0,
) -> None:
    """Read the first page of the list again and again."""
    account = account_of(base_url, calls_per_second)
    gate = PostgresCallGate(conninfo, account.gate_key, account.calls_per_second)
    with ControlCenterClient(account, gate) as client:
        for _ in range(calls):
            client.list_devices_page(modified_since=NOW, page_number=1)


if __name__ == "__main__":
    typer.run(main)
