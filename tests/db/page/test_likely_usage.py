"""A SIM's page says how uncertain its usage is and where another plan would be better, from the stored instance."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from amop.database.connection import connect
from amop.page.sim import SimView, read_sim
from amop.solver.stake import DOUBT_TO_WAIT
from tests.worlds.history_world import AS_OF, ONE_DAY, History, daily
from tests.worlds.optimization_world import MEGABYTE

MICRO = 10**6
BURSTS = {6: 40, 7: 40, 8: 32}
"""MB of a burst by the number of the SIM."""


def optimized(dsn: str, **settings: Any) -> History:
    """Return a provider with 6 steady SIMs of 1 MB a day and 3 with a burst of 40 or 32 MB on every fourth day."""
    world = History(dsn, **settings)
    world.add_rate_plan("Meter 50", "2", "50", overage_rate="0.50", data_per_overage_charge="10")
    world.add_rate_plan("Meter 500", "12", "500", overage_rate="0.50", data_per_overage_charge="10")
    world.add_communication_plan("Meters", ["Meter 50", "Meter 500"])
    nights = daily(AS_OF - 27 * ONE_DAY, AS_OF)
    world.sync(*nights)
    for number in range(9):
        used = {
            night: round(MEGABYTE * (BURSTS.get(number, 1) if not (day + number) % 4 else 1 + 0.01 * (day % 3)))
            for day, night in enumerate(nights)
        }
        world.use(f"89011700000000000{number:02d}", used, communication_plan="Meters", rate_plan="Meter 50")
    instance_id = world.open(now=AS_OF)
    for step in world.steps(instance_id):
        step()
    return world


def view_of(world: History, number: int) -> SimView:
    with connect(world.dsn) as connection:
        row = connection.execute(
            "SELECT id FROM amop.device WHERE iccid = %s", (f"89011700000000000{number:02d}",)
        ).fetchone()
        assert row is not None
        view = read_sim(connection, row["id"], integrations=["jasper"], orders={})
    assert view is not None
    return view


def test_the_stored_usages_of_a_sim_are_its_scenarios_and_only_doubtful_ones_have_a_value_at_stake(
    warehouse_dsn: str,
) -> None:
    world = optimized(warehouse_dsn, projection_method="scenarios")
    rows = world.execute("SELECT * FROM amop.optimization_device_forecast ORDER BY device_id")
    assert len(rows) == 9
    for row in rows:
        usages = [row[f"usage_{percent}_percent"] for percent in range(5, 100, 10)]
        assert usages == sorted(usages)
    steady, bursting = rows[:6], rows[6:]
    assert all(row["usage_95_percent"] < 50 * MICRO and row["value_at_stake"] == 0 for row in steady)
    assert all(row["usage_95_percent"] > row["usage_5_percent"] + 30 * MICRO for row in bursting)
    assert max(row["value_at_stake"] for row in bursting) > 0


def test_the_page_shows_the_range_the_expected_costs_and_the_usage_at_which_another_plan_is_better(
    warehouse_dsn: str,
) -> None:
    view = view_of(optimized(warehouse_dsn, projection_method="scenarios"), 0)
    # 2.00 + 21 blocks of 0.50 = 12.50 is the first cost above 12.00: beyond 50 + 20 x 10 MB.
    assert "Meter 500 would be better if it used more than 250.00 MB in this period;" in view.sentences[-1]
    assert any(sentence.startswith("With a probability of 90 % it uses ") for sentence in view.sentences)
    assert "Its plan hardly depends on how much it uses." in view.sentences
    small, large = view.options.rows
    assert (small.rate_plan, small.better, small.expected) == ("Meter 50", None, Decimal(2))
    assert large.better is not None
    assert (large.better.above, large.better.below, large.expected) == (Decimal(250), None, Decimal(12))
    assert view.likely is not None
    wide, narrow = view.likely.bands
    assert 0 < wide.x <= narrow.x < narrow.x + narrow.width <= wide.x + wide.width < view.likely.width


def test_a_point_forecast_has_no_range_but_the_usage_at_which_another_plan_is_better(warehouse_dsn: str) -> None:
    world = optimized(warehouse_dsn)
    assert world.execute("SELECT * FROM amop.optimization_device_forecast") == []
    view = view_of(world, 0)
    assert view.likely is None
    assert not any("probability" in sentence for sentence in view.sentences)
    assert "more than 250.00 MB" in view.sentences[-1]
    assert [option.expected for option in view.options.rows] == [None, None]


def test_the_page_names_the_usage_up_to_which_a_smaller_plan_would_be_better(warehouse_dsn: str) -> None:
    view = view_of(optimized(warehouse_dsn), 7)
    chosen = next(option for option in view.options.rows if option.is_chosen)
    assert chosen.rate_plan == "Meter 500"
    used = view.result.usage_mb if view.result else Decimal(0)
    sentence = "Meter 50 would be better if it used no more than 250.00 MB."
    assert (sentence in view.sentences) is (used <= 250)


def test_each_change_has_its_certainty_and_is_doubtful_by_the_stored_figures(warehouse_dsn: str) -> None:
    world = optimized(warehouse_dsn, projection_method="scenarios")
    rows = world.execute(
        "SELECT change.certainty AS of_change, change.is_doubtful AS change_is_doubtful, change.waits_reason,"
        " forecast.* FROM amop.rate_plan_change AS change JOIN amop.optimization_device_forecast AS forecast"
        " USING (instance_id, device_id)"
    )
    assert rows  # the SIMs with bursts of 40 MB move to the larger plan
    for row in rows:
        assert row["of_change"] * MICRO == row["certainty"]
        is_doubtful = row["expected_regret"] > DOUBT_TO_WAIT * max(0, row["expected_saving"])
        assert row["change_is_doubtful"] == bool(row["is_doubtful"]) == is_doubtful
        assert row["waits_reason"] is None  # nothing was decided yet
    others = world.execute("SELECT * FROM amop.optimization_device_forecast WHERE expected_saving = 0")
    assert len(others) == 9 - len(rows)
    assert not any(row["is_doubtful"] for row in others)


def test_the_page_of_a_sim_says_how_certain_its_plan_is_and_what_its_change_waits_for(warehouse_dsn: str) -> None:
    world = optimized(warehouse_dsn, projection_method="scenarios")
    (change,) = world.execute("SELECT * FROM amop.rate_plan_change ORDER BY id LIMIT 1")
    number = int(change["iccid"][-2:])
    chance = f"{change['certainty']:.0%}"
    sentence = f"Meter 500 is its cheapest plan with a probability of {chance}."
    assert sentence in view_of(world, number).sentences
    world.execute("UPDATE amop.rate_plan_change SET waits_reason = 'waits for Friday' WHERE id = %s", change["id"])
    view = view_of(world, number)
    assert "The change to Meter 500 waits for Friday." in view.sentences
    assert [(row.state, row.remark) for row in view.changes.rows] == [("waiting", "waits for Friday")]
    world.execute("UPDATE amop.rate_plan_change SET state = 'approved', waits_reason = NULL")
    assert not any("waits" in sentence for sentence in view_of(world, number).sentences)
