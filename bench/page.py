"""Time the views of the operators' page over HTTP: Airflow's API server, signed in, a warehouse of 100 providers.

python -m bench.page 1000000

One provider has the large fleet and an optimization of it that waits for an approval; see `bench.page_fleet`. Each view
is requested in several ways, sorted, filtered and at a later page, as a user does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from unittest import mock

import requests
import typer

from amop.findings.check import check_provider
from bench.findings import NOW, add_fleet, server
from bench.markdown import goal, markdown
from bench.page_fleet import PROVIDERS, PageFleet, add_page
from tests.worlds import moments
from tests.worlds.airflow_server import AirflowServer, airflow_server
from tests.worlds.page_world import set_database_moment

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 60
WARM_UP = 2
SLOWEST_VIEW = 300
"""Milliseconds that the 95th percentile of a view may take."""
LONGEST_CHECK = 60
"""Seconds that a check for findings may take."""


@dataclass(frozen=True, slots=True)
class ViewTime:
    """How long a view takes over HTTP."""

    view: str
    median: float
    """Milliseconds."""
    high: float
    """95th percentile, milliseconds."""
    kilobytes: float
    """Of the longest answer."""


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Figures of one warehouse."""

    sims: int
    changes: int
    """Plan changes that wait for an approval."""
    check_seconds: float
    findings: dict[str, int]
    views: list[ViewTime]


def addresses(fleet: PageFleet) -> dict[str, list[str]]:
    """Return the addresses of each view, below the page's root."""
    session = f"session/{fleet.session_id}"
    changes = f"{session}/changes"
    return {
        "Today": ["", "?sort_today=-saving"],
        "Sessions": ["sessions", "sessions?provider=1", "sessions?sort_sessions=saving"],
        "Session": [session, f"{session}?sort_moves=sims"],
        "Plan changes": [
            changes,
            *(f"{changes}?sort_changes={column}" for column in ("iccid", "-to_cost", "from_rate_plan", "applied_at")),
            *(f"{changes}?{query}" for query in ("state=proposed", "q=8900000000001", "q=Plan+4", "page=40")),
        ],
        "SIM search": [f"sims?q={text}" for text in ("89000000000000500", "890000", "31000", "89000000000000123456")],
        "SIM": [f"sim/{number}" for number in (1, 777, 12_345, 1_000)],
        "Savings": ["savings", "savings?sort_savings=realised"],
        "Findings": ["findings", "findings?provider=1", "findings?dismissed=yes"],
        "What if, form": ["what-if", "what-if?provider=1"],
        "What if": [f"what-if/{fleet.what_if_id}"],
        "Outbox": ["outbox", "outbox?state=dead", "outbox?q=Provider+4", "outbox?sort_outbox=provider&page=40"],
        "Quarantine": [
            "quarantine",
            "quarantine?resolved=yes&page=40",
            "quarantine?q=8900",
            "quarantine?resolved=yes&q=x",
        ],
    }


def measure_page(count: int) -> PageTimes:
    """Return the figures of a warehouse with this many SIMs of one provider and 99 small providers."""
    with server() as running:
        conninfo, superuser = running.conninfo("bench"), running.conninfo("bench", user="postgres")
        moments.add_database_clock(superuser)
        set_database_moment(running, conninfo, NOW)
        add_fleet(conninfo, count)
        begun = time.perf_counter()
        found = check_provider(conninfo, 1, now=NOW)
        spent = time.perf_counter() - begun
        fleet = add_page(conninfo, now=NOW)
        with page_server(conninfo) as airflow:
            return PageTimes(count, fleet.changes, spent, found, view_times(airflow, fleet))


def view_times(airflow: AirflowServer, fleet: PageFleet) -> list[ViewTime]:
    """Return how long each view takes a signed-in user, one request after another."""
    with requests.Session() as browser:
        browser.cookies.set("_token", airflow.token("user"))
        return [_time(browser, f"{airflow.address}/amop/", view, ways) for view, ways in addresses(fleet).items()]


def _time(browser: requests.Session, root: str, view: str, ways: list[str]) -> ViewTime:
    spent, longest = [], 0
    for number in range(WARM_UP * len(ways) + REPEATS):
        begun = time.perf_counter()
        answer = browser.get(root + ways[number % len(ways)], timeout=60)
        spent.append(1000 * (time.perf_counter() - begun))
        answer.raise_for_status()
        longest = max(longest, len(answer.content))
    spent = sorted(spent[WARM_UP * len(ways) :])
    return ViewTime(view, spent[REPEATS // 2], spent[round(0.95 * REPEATS) - 1], longest / 1024)


@contextmanager
def page_server(conninfo: str) -> Iterator[AirflowServer]:
    """Run Airflow's API server with the page on a warehouse until the end of the ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as name:
        folder = Path(name)
        environment = {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of the benchmark, long enough for the signature" * 2,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'migrated.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        with mock.patch.dict(os.environ, environment):
            subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
            with airflow_server(folder, folder / "migrated.db") as running:
                running.connect_to(conninfo)
                yield running


def table(times: PageTimes) -> list[str]:
    """Return the figures as lines of markdown, with the goals that are met and missed."""
    return [
        f"{times.sims:,} SIMs of one provider, {PROVIDERS - 1} further providers with 1,000 SIMs each,"
        f" {times.changes:,} plan changes that wait for an approval. Every request goes through Airflow's API server"
        f" and its sign-in; {REPEATS} requests a view, one after another.",
        "",
        *markdown(
            {
                "view": one.view,
                "median, ms": f"{one.median:.0f}",
                "95th percentile, ms": f"{one.high:.0f}",
                f"goal: at most {SLOWEST_VIEW} ms": goal(one.high <= SLOWEST_VIEW),
                "largest answer, KB": f"{one.kilobytes:.0f}",
            }
            for one in times.views
        ),
        f"The check for findings of the large provider, 31 days of usage: {times.check_seconds:.1f} s"
        f" (goal: at most {LONGEST_CHECK} s, {goal(times.check_seconds <= LONGEST_CHECK)});"
        f" it stored {sum(times.findings.values())} findings.",
        "",
    ]


def section(count: int) -> list[str]:
    """Measure and return the section of docs/benchmarks.md."""
    return table(measure_page(count))


def main(count: Annotated[int, typer.Argument(help="SIMs of the large provider.")] = 100_000) -> None:
    """Print the figures."""
    print("\n".join(section(count)))


if __name__ == "__main__":
    typer.run(main)
