"""Projection from the daily history in SQL, a fleet at a time, held against the rule in Python, SIM by SIM."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amop.optimization.forecast import project_usage, usage_micro_mb
from amop.optimization.usage_history import FEWEST_DAYS, UsageDay, usage_history
from tests.worlds.history_world import AS_OF, CYCLE, ONE_DAY, ZONE, History, daily
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, MEGABYTE


@pytest.fixture
def world(warehouse_dsn: str) -> History:
    return History(warehouse_dsn)


def recomputed(world: History, projected: dict[str, dict[str, Any]], as_of: datetime) -> dict[str, Decimal]:
    """Return each SIM's projection, worked out in Python from what is stored."""
    instance = projected[""]
    days = [UsageDay.from_json(day) for day in instance["projection"].get("usage_days", [])]
    history = usage_history(
        days,
        billing_period_id=world.billing_period_id,
        usage_as_of=instance["usage_as_of"],
        cycle_end=CYCLE_END,
        time_zone="America/New_York",
    )
    assert (history is None) == (instance["projection"]["method"] == "elapsed_time")
    found = {}
    for sim in world.execute("SELECT * FROM amop.device WHERE iccid = ANY(%s)", list(projected)):
        rows = world.execute("SELECT * FROM amop.device_usage WHERE device_id = %s", sim["id"])
        usage = usage_micro_mb(sim["ctd_data_usage"])
        first_day = history.first_day_of(sim["date_activated"]) if history else 0
        count = history.counts[first_day] if history else 0
        final = project_usage(
            usage, status=sim["status"], last_usage_date=sim["last_usage_date"], usage_as_of=as_of, **CYCLE
        )
        is_final = sim["status"] in {"DEACTIVATED", "RETIRED"} or not CYCLE_START <= sim["last_usage_date"] < CYCLE_END
        if history and count >= FEWEST_DAYS and not is_final:
            used = {(row["usage_date"], row["billing_period_id"]): row["data_usage"] for row in rows}
            final = history.project(usage, first_day=first_day, bytes_by_day=used)
            assert projected[sim["iccid"]]["history_days"] == count
        else:
            assert projected[sim["iccid"]]["history_days"] == 0
        found[sim["iccid"]] = Decimal(final).scaleb(-6)
    return found


MOMENTS = st.lists(
    st.integers(0, 48 * 24).map(lambda hours: AS_OF - timedelta(hours=hours)), min_size=1, max_size=40, unique=True
).map(sorted)
SIMS = st.lists(
    st.tuples(
        st.sampled_from(["ACTIVATED", "ACTIVATED", "ACTIVATED", "DEACTIVATED", None]),
        st.one_of(st.none(), st.integers(-20 * 24, 60 * 24).map(lambda hours: AS_OF - timedelta(hours=hours))),
        st.sampled_from([AS_OF, AS_OF - 3 * ONE_DAY, CYCLE_START - ONE_DAY]),
        st.lists(st.sampled_from([0, 0, 1, 8_192, 3_000_001, 10**9, 7 * 10**12]), min_size=40, max_size=40),
        st.one_of(st.none(), st.integers(0, 10**10)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=MOMENTS, sims=SIMS)
def test_the_projection_of_the_sql_is_that_of_the_domain(
    world: History, moments: list[datetime], sims: list[tuple[Any, ...]]
) -> None:
    world.forget()
    world.sync(*moments)
    for number, (status, activated, last_used, usage, counter) in enumerate(sims):
        columns = {"status": status, "date_activated": activated, "last_usage_date": last_used}
        if counter is not None:  # a counter that does not fit its daily rows
            columns["ctd_data_usage"] = counter
        used = dict(zip(moments, usage, strict=False))
        world.use(f"890117000000000000{number}", used, **columns)
    as_of = max((moment for moment in moments if moment >= CYCLE_START), default=AS_OF)
    projected = world.project()
    expected = recomputed(world, projected, as_of)
    assert {iccid: row["projected_usage_mb"] for iccid, row in projected.items() if iccid} == expected
    assert all(row["projected_usage_mb"] >= row["usage_mb"] for iccid, row in projected.items() if iccid)


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        pytest.param(
            [CYCLE_START + timedelta(hours=7), CYCLE_START + timedelta(hours=31), CYCLE_START + timedelta(hours=55)],
            [("2026-10-19", 0, 7), ("2026-10-20", 7, 31), ("2026-10-21", 31, 55)],
            id="a sync a night",
        ),
        pytest.param(
            [CYCLE_START + timedelta(hours=hours) for hours in (7, 8, 20, 103, 127)],
            [("2026-10-19", 0, 20), ("2026-10-23", 20, 103), ("2026-10-24", 103, 127)],
            id="several on one date, and three nights missed",
        ),
        pytest.param(
            [
                datetime(2026, 10, 31, 5, tzinfo=UTC),
                datetime(2026, 11, 1, 4, tzinfo=UTC),
                datetime(2026, 11, 2, 4, tzinfo=UTC),
                datetime(2026, 11, 3, 4, tzinfo=UTC),
            ],
            [("2026-10-31", 0, 295), ("2026-11-01", 295, 342), ("2026-11-02", 342, 366)],
            id="two nights fall on the date on which the clocks go back",
        ),
        pytest.param(
            [CYCLE_START - timedelta(hours=hours) for hours in (42, 18)]
            + [CYCLE_START + timedelta(hours=hours) for hours in (1, 6)],
            [("2026-10-17", -720, -42), ("2026-10-18", -42, -18), ("2026-10-18", 0, 1), ("2026-10-19", 1, 6)],
            id="a date of two billing periods, and hours between them without a sync",
        ),
    ],
)
def test_usage_days_are_the_times_between_syncs(
    world: History, moments: Sequence[datetime], expected: list[tuple[str, int, int]]
) -> None:
    world.sync(*moments)
    world.sync(moments[0] + timedelta(minutes=9), usage_merged_at=None, status="failed")
    world.sync(moments[-1] + timedelta(hours=1), usage_merged_at=None, status="running")
    days = [UsageDay.from_json(day) for day in world.project()[""]["projection"]["usage_days"]]
    hour = timedelta(hours=1)
    assert [
        (str(day.usage_date), (day.begins_at - CYCLE_START) / hour, (day.ends_at - CYCLE_START) / hour) for day in days
    ] == expected
    assert [day.billing_period_id for day in days] == [world.period_of(day.ends_at) for day in days]


def test_a_weekend_idle_sim_is_not_charged_for_a_weekend_that_is_left(world: History) -> None:
    # Friday 13 November, midnight in New York; a Friday, a weekend and 2.75 working days are left.
    moments = daily(AS_OF - 25 * ONE_DAY, AS_OF)
    world.sync(*moments)
    by_hour = {moment: (moment - timedelta(hours=12)).astimezone(ZONE).weekday() < 5 for moment in moments}
    world.use("8901170000000000001", {moment: 10 * MEGABYTE if works else 0 for moment, works in by_hour.items()})
    projected = world.project()
    row = projected["8901170000000000001"]
    to_come = float(row["projected_usage_mb"]) / 1.01 - float(row["usage_mb"])
    assert projected[""]["projection"]["method"] == "daily_history"
    # 37.5 MB are to come: a Friday, 2.75 days from Monday on, nothing between. κ gives the weekend a little of them.
    assert 37.5 - 1 < to_come < 37.5 + 3
    # The formula would have it that all days are alike.
    formula = project_usage(
        int(row["usage_mb"] * 10**6), status=None, last_usage_date=AS_OF, usage_as_of=AS_OF, **CYCLE
    )
    assert formula / 1.01e6 - float(row["usage_mb"]) > 37.5 + 5


def test_the_setting_elapsed_time_is_the_formula_for_every_sim(warehouse_dsn: str) -> None:
    world = History(warehouse_dsn, projection_method="elapsed_time")
    moments = daily(AS_OF - 20 * ONE_DAY, AS_OF)
    world.sync(*moments)
    world.use("8901170000000000001", {moment: 10**6 + number for number, moment in enumerate(moments)})
    projected = world.project()
    expected = recomputed(world, projected, AS_OF)
    assert projected["8901170000000000001"]["projected_usage_mb"] == expected["8901170000000000001"]
    assert projected[""]["projection"] == {"method": "elapsed_time"}


def test_a_new_sim_is_projected_by_the_formula_until_it_has_three_days(world: History) -> None:
    moments = daily(AS_OF - 20 * ONE_DAY, AS_OF)
    world.sync(*moments)
    for number, age in enumerate((1, 2, 3, 4)):
        used = dict.fromkeys(moments[-age:], MEGABYTE)
        world.use(f"890117000000000000{number}", used, date_activated=AS_OF - age * ONE_DAY)
    projected = world.project()
    assert [projected[f"890117000000000000{number}"]["history_days"] for number in range(4)] == [0, 0, 3, 4]
    # The formula spreads 2 MB over the 25 days so far; from 3 days on the rest of the cycle continues at 1 MB a day.
    left = (CYCLE_END - AS_OF) / ONE_DAY
    assert projected["8901170000000000001"]["projected_usage_mb"] < 3
    assert float(projected["8901170000000000002"]["projected_usage_mb"]) == pytest.approx(1.01 * (3 + left), rel=0.001)


def test_later_syncs_change_nothing_of_an_earlier_projection(world: History) -> None:
    moments = daily(AS_OF - 9 * ONE_DAY, AS_OF)
    world.sync(*moments)
    world.use("8901170000000000001", dict.fromkeys(moments, 5000000))
    first = world.project()
    # A sync in the afternoon of the same date adds to today's row; the counter of then is kept with the instance.
    world.execute("UPDATE amop.device_usage SET data_usage = data_usage * 9 WHERE usage_date = '2026-11-13'")
    assert recomputed(world, first, AS_OF) == {
        "8901170000000000001": first["8901170000000000001"]["projected_usage_mb"]
    }


def test_usage_whose_weights_are_beyond_64_bits_is_still_exact(world: History) -> None:
    moments = daily(AS_OF - 4 * ONE_DAY, AS_OF)
    world.sync(*moments)
    world.use("8901170000000000001", dict.fromkeys(moments, 10**13))
    projected = world.project()
    assert recomputed(world, projected, AS_OF) == {
        "8901170000000000001": projected["8901170000000000001"]["projected_usage_mb"]
    }
