"""The date on which a test runs: one simulated clock for the package, the sandbox and the warehouse.

No test depends on the day on which it is run. Fixture `moment` sets the clock to `ORDINARY_MOMENT`; a test that depends
on the date runs at each of the `AWKWARD_MOMENTS`:

    @on_awkward_dates
    def test_a_session_is_opened_when_due(world: SyncWorld, moment: datetime) -> None:

Three clocks are set, and all of them continue to run:

* ``datetime.now`` of `amop.clock` and of the modules of `sandbox` in this process,
* ``now()`` and ``clock_timestamp()`` in the databases that conftest.py creates from its template,
* `present`, for the tests. They never read the machine's clock; ruff refuses it (TID251, see pyproject.toml).

A test of Airflow itself runs on the machine's clock, as Airflow does. Its folder overrides fixture `moment` by
`machine_moment`, and then all three clocks show the machine's time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql

import amop.clock  # noqa: F401 the one module of the package that reads the clock must be there to be changed

ORDINARY_MOMENT = datetime(2026, 11, 24, 12, tzinfo=UTC)
NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")

AWKWARD_MOMENTS = {
    # The sandbox's Jasper provider closes its billing period on the 18th at 18:00 in New York.
    "1st of the month": datetime(2026, 12, 1, 9, 30, tzinfo=NEW_YORK),
    "1st of the month at midnight": datetime(2026, 12, 1, tzinfo=NEW_YORK),
    "1st of the month in UTC only": datetime(2026, 12, 1, 1, tzinfo=UTC),
    "10th, week before the end": datetime(2026, 12, 10, 12, tzinfo=NEW_YORK),
    "17th": datetime(2026, 12, 17, 12, tzinfo=NEW_YORK),
    "18th before the closing hour": datetime(2026, 12, 18, 17, tzinfo=NEW_YORK),
    "18th at the closing hour": datetime(2026, 12, 18, 18, tzinfo=NEW_YORK),
    "19th": datetime(2026, 12, 19, 12, tzinfo=NEW_YORK),
    "27th": datetime(2026, 12, 27, 12, tzinfo=NEW_YORK),
    "28th": datetime(2026, 12, 28, 12, tzinfo=NEW_YORK),
    "29th": datetime(2026, 12, 29, 12, tzinfo=NEW_YORK),
    "30th": datetime(2026, 12, 30, 12, tzinfo=NEW_YORK),
    "31st": datetime(2026, 12, 31, 12, tzinfo=NEW_YORK),
    "New Year's Eve, New Year in UTC": datetime(2026, 12, 31, 23, 30, tzinfo=NEW_YORK),
    "New Year": datetime(2027, 1, 1, tzinfo=NEW_YORK),
    "28 February": datetime(2027, 2, 28, 12, tzinfo=NEW_YORK),
    "28 February of a leap year": datetime(2028, 2, 28, 12, tzinfo=NEW_YORK),
    "29 February": datetime(2028, 2, 29, 12, tzinfo=NEW_YORK),
    "summer time begins in New York": datetime(2027, 3, 14, 3, tzinfo=NEW_YORK),
    "summer time begins in Berlin": datetime(2027, 3, 28, 3, tzinfo=BERLIN),
    "summer time ends in Berlin": datetime(2027, 10, 31, 2, 30, tzinfo=BERLIN, fold=1),
    "summer time ends in New York": datetime(2027, 11, 7, 1, 30, tzinfo=NEW_YORK, fold=1),
    "the day after summer time ends in New York": datetime(2027, 11, 8, 0, 30, tzinfo=NEW_YORK),
}
"""Name → a moment at which a mistake about dates would be seen."""

on_awkward_dates = pytest.mark.parametrize(
    "moment", [moment.astimezone(UTC) for moment in AWKWARD_MOMENTS.values()], ids=list(AWKWARD_MOMENTS), indirect=True
)
"""Run the test once at each of the awkward moments."""

PACKAGES = ("amop", "sandbox")
DATABASE_CLOCK = """
CREATE SCHEMA test_clock;
GRANT USAGE ON SCHEMA test_clock TO PUBLIC;
CREATE FUNCTION test_clock.now() RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT pg_catalog.now() + coalesce(nullif(current_setting('test_clock.ahead', true), ''), '0')::interval $$;
CREATE FUNCTION test_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS $$
    SELECT pg_catalog.clock_timestamp()
        + coalesce(nullif(current_setting('test_clock.ahead', true), ''), '0')::interval
$$;
"""


def machine_time() -> datetime:
    """Return the machine's time: for this module and for the tests of Airflow itself, which has no other clock."""
    return datetime.now(UTC)  # noqa: TID251 the one place that may


class _LooksLikeDatetime(type(datetime)):  # type: ignore[misc]
    """`SimulatedDatetime` stands for `datetime` in checks of types and annotations too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or other is datetime

    def __hash__(cls) -> int:
        return hash(datetime)


class SimulatedDatetime(datetime, metaclass=_LooksLikeDatetime):
    """`datetime` as modules of the package see it: its `now` is `offset` away from the machine's time."""

    offset = timedelta(0)

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Return an ordinary `datetime`."""
        return datetime(*arguments, **named)  # noqa: DTZ001 as the caller wants it

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """Return the present moment of the simulated clock in a time zone."""
        return (machine_time() + cls.offset).astimezone(tz)


def present() -> datetime:
    """Return the present moment of the simulated clock, aware, in UTC."""
    return SimulatedDatetime.now(UTC)


def replace_datetime(replacement: type[datetime]) -> None:
    """Let the modules of the package and the sandbox that were imported until now use another `datetime`."""
    for name, module in sys.modules.copy().items():  # a server's thread may import meanwhile
        if name.partition(".")[0] in PACKAGES and vars(module).get("datetime") in (datetime, SimulatedDatetime):
            module.datetime = replacement  # type: ignore[attr-defined]


def add_database_clock(superuser_conninfo: str) -> None:
    """Add to a database the functions that shadow PostgreSQL's clock; `set_database_clock` turns them on."""
    with psycopg.connect(superuser_conninfo, autocommit=True) as connection:
        connection.execute(DATABASE_CLOCK)  # type: ignore[arg-type]


def set_database_clock(superuser_conninfo: str, *, ahead: timedelta | None = None) -> None:
    """Let all later connections to a database see the time of the simulated clock, or one ahead of the machine's."""
    seconds = (SimulatedDatetime.offset if ahead is None else ahead).total_seconds()
    with psycopg.connect(superuser_conninfo, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        for statement in (
            sql.SQL('ALTER DATABASE {} SET search_path = test_clock, pg_catalog, "$user", public').format(database),
            sql.SQL("ALTER DATABASE {} SET test_clock.ahead = {}").format(
                database, sql.Literal(f"{seconds:.6f} seconds")
            ),
        ):
            connection.execute(statement)


def set_clock(offset: timedelta) -> None:
    """Set the simulated clock to an offset from the machine's time."""
    SimulatedDatetime.offset = offset
    replace_datetime(SimulatedDatetime)


def _set_to(moment: datetime) -> None:
    set_clock(moment - machine_time())


@pytest.fixture(scope="session", autouse=True)
def simulated_clock() -> None:
    """Simulate the clock of this process, at the ordinary moment at first."""
    _set_to(ORDINARY_MOMENT)


@pytest.fixture(autouse=True)
def moment(request: pytest.FixtureRequest, simulated_clock: None) -> Iterator[datetime]:
    """Set the clock and return the moment at which the test begins."""
    begin: datetime = getattr(request, "param", ORDINARY_MOMENT)
    _set_to(begin)
    yield begin
    _set_to(ORDINARY_MOMENT)


@pytest.fixture(scope="module")
def machine_moment(simulated_clock: None) -> Iterator[datetime]:
    """Let all clocks show the machine's time, for tests of Airflow itself."""
    set_clock(timedelta(0))
    yield machine_time()
    _set_to(ORDINARY_MOMENT)
