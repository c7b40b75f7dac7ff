"""The simulated clock of the tests, the dates that it is set to, and the lint rule that refuses any other clock."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

from amop import clock
from tests.worlds.moments import (
    AWKWARD_MOMENTS,
    ORDINARY_MOMENT,
    SimulatedDatetime,
    machine_time,
    on_awkward_dates,
    present,
)

ROOT = Path(__file__).resolve().parents[3]
SLACK = timedelta(minutes=2)
"""How long a loaded machine may take between two statements of a test."""
CLOSING_DAY, CLOSING_HOUR = 18, 18


def test_the_package_the_tests_and_the_database_have_one_clock(warehouse_dsn: str, moment: datetime) -> None:
    with psycopg.connect(warehouse_dsn) as connection:
        row = connection.execute("SELECT now(), clock_timestamp(), pg_catalog.now()").fetchone()
    assert row is not None
    assert moment == ORDINARY_MOMENT
    for now in (present(), clock.utc_now(), *row[:2]):
        assert timedelta(0) <= now - ORDINARY_MOMENT < SLACK
    assert abs(row[2] - machine_time()) < SLACK


def test_defaults_of_the_migrated_columns_have_the_clock_too(warehouse_dsn: str) -> None:
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'x', 'UTC')")
        connection.execute(
            "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)"
            " VALUES (1, 1, 1, 'x', 'x', 'UTC')"
        )
        row = connection.execute(
            "INSERT INTO amop.communication_plan (service_provider_id, name) VALUES (1, 'x') RETURNING added_at"
        ).fetchone()
    assert row is not None and abs(row[0] - ORDINARY_MOMENT) < SLACK


@on_awkward_dates
def test_the_clock_is_set_to_each_moment_and_runs_on(moment: datetime) -> None:
    assert moment in {one.astimezone(UTC) for one in AWKWARD_MOMENTS.values()}
    first = second = present()
    while second == first:  # two readings may be within one microsecond
        second = present()
    assert timedelta(0) <= first - moment < SLACK and first < second


def test_the_simulated_datetime_makes_ordinary_ones() -> None:
    made = [
        SimulatedDatetime(2026, 1, 2),
        SimulatedDatetime.fromisoformat("2026-01-02"),
        SimulatedDatetime.now(UTC),
        SimulatedDatetime.combine(ORDINARY_MOMENT.date(), ORDINARY_MOMENT.time()),
        SimulatedDatetime.strptime("2026", "%Y"),
        SimulatedDatetime.fromtimestamp(0, UTC),
    ]
    assert {type(one) for one in made} == {datetime}
    assert all(isinstance(one, SimulatedDatetime) for one in made)
    assert not isinstance(ORDINARY_MOMENT.date(), SimulatedDatetime)
    assert SimulatedDatetime == datetime and {datetime: 1}[SimulatedDatetime] == 1


def test_the_moments_are_those_at_which_mistakes_are_seen() -> None:
    local = {name: moment for name, moment in AWKWARD_MOMENTS.items() if moment.tzinfo == ZoneInfo("America/New_York")}
    assert {1, 17, CLOSING_DAY, 19, 27, 28, 29, 30, 31} <= {moment.day for moment in local.values()}
    assert any((m.day, m.hour, m.minute) == (CLOSING_DAY, CLOSING_HOUR, 0) for m in local.values())
    assert {(2, 28), (2, 29), (1, 1)} <= {(moment.month, moment.day) for moment in local.values()}
    for name in ("America/New_York", "Europe/Berlin"):
        zone = ZoneInfo(name)
        changes: set[tuple[timedelta | None, timedelta | None]] = set()
        for moment in AWKWARD_MOMENTS.values():
            now = moment.astimezone(UTC)
            before, after = ((now + by).astimezone(zone).utcoffset() for by in (-timedelta(hours=4), timedelta(0)))
            changes |= {(before, after)} if before != after else set()
        assert len(changes) == 2, f"both changes of {name}"


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import UTC, datetime\nNOW = datetime.now(UTC)\n",
        "import datetime\nNOW = datetime.datetime.now(datetime.UTC)\n",
        "from datetime import date\nTODAY = date.today()\n",
        "from datetime import datetime\nNOW = datetime.utcnow()\n",
        "from datetime import datetime\nNOW = datetime.today()\n",
        "import time\nNOW = time.time()\n",
        "from time import time\nNOW = time()\n",
        "import time\nNOW = time.time_ns()\n",
        "from datetime import datetime\nCLOCK = datetime.now\n",
    ],
)
def test_code_that_reads_the_clock_fails_in_lint(line: str) -> None:
    ruff = Path(sys.executable).with_name("ruff")

    def codes(path: str) -> str:
        done = subprocess.run(
            [ruff, "check", "--output-format=concise", f"--stdin-filename={path}", "-"],
            input=line,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert "TID251" in codes("tests/db/runs/test_x.py")
    assert "TID251" in codes("plugins/amop/runs/x.py")
    assert "TID251" not in codes("plugins/amop/clock.py")
    assert "TID251" not in codes("sandbox/carrier/x.py")
