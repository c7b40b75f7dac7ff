"""Time the reading of the page's views over one fleet: the 95th percentile of each, without HTTP and HTML.

python -m bench.page 1000000
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from amop.database.connection import WarehouseConnection, connect
from amop.findings.check import check_provider
from amop.page.findings import read_findings
from amop.page.queues import read_messages, read_quarantine
from amop.page.savings import read_savings
from amop.page.session import read_sessions
from amop.page.sim import read_sim, search_sims
from amop.page.today import read_today
from amop.page.what_if import read_what_ifs
from bench.findings import NOW, fleet

REPEATS = 40
EVERY = ["jasper", "pod19", "tmobile_jasper", "rogers"]
QUEUE: dict[str, Any] = {"integrations": EVERY, "search": None, "order": None, "page": 1}

View = Callable[[WarehouseConnection, int], object]
"""Reads a view; the number tells one repetition from another."""

VIEWS: dict[str, View] = {
    "today": lambda connection, _n: read_today(connection, integrations=EVERY, order=None),
    "sessions": lambda connection, _n: read_sessions(
        connection, integrations=EVERY, service_provider_id=None, order=None
    ),
    "sims": lambda connection, n: search_sims(
        connection, f"{89000000000000000001 + n}", integrations=EVERY, order=None
    ),
    "sim": lambda connection, n: read_sim(connection, 1 + n, integrations=EVERY, orders={}),
    "savings": lambda connection, _n: read_savings(connection, integrations=EVERY, order=None),
    "findings": lambda connection, _n: read_findings(
        connection, integrations=EVERY, changeable=EVERY, dismissed=False, service_provider_id=None, orders={}
    ),
    "what if": lambda connection, _n: read_what_ifs(
        connection, integrations=EVERY, askable=EVERY, service_provider_id=None, order=None
    ),
    "outbox": lambda connection, _n: read_messages(connection, state=None, **QUEUE),
    "quarantine": lambda connection, _n: read_quarantine(connection, with_resolved=True, **QUEUE),
}


def milliseconds(conninfo: str) -> dict[str, float]:
    """Return the 95th percentile of each view, each repetition on a connection of its own."""
    found = {}
    for name, view in VIEWS.items():
        spent = []
        for number in range(REPEATS):
            begun = time.perf_counter()
            with connect(conninfo) as connection:
                view(connection, number)
            spent.append(1000 * (time.perf_counter() - begun))
        found[name] = sorted(spent)[round(0.95 * REPEATS) - 1]
    return found


def main(count: Annotated[int, typer.Argument(help="Number of SIMs.")] = 100_000) -> None:
    """Print the 95th percentile of each view."""
    with fleet(count) as conninfo:
        check_provider(conninfo, 1, now=NOW)
        for name, spent in milliseconds(conninfo).items():
            print(f"{count:,} SIMs, {name}: {spent:.0f} ms")


if __name__ == "__main__":
    typer.run(main)
