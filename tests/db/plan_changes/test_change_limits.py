"""The provider's limits on the changes of a SIM, checked again at the moment of sending each change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from amop.families import FAMILIES, Limits
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.changes_world import CYCLE_START, NOW, ChangesWorld


@pytest.fixture(scope="module")
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(
        devices_per_account=300, accounts=("jasper",), as_of=NOW, limits_are_enforced=False
    ) as running:
        yield running


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> ChangesWorld:
    world = ChangesWorld(warehouse_dsn, carrier, approval_above_changes=None)
    carrier.reset_stats()
    return world


def approved_after_a_change(world: ChangesWorld, at: datetime) -> tuple[int, list[dict[str, Any]]]:
    """Return an instance with two approved changes, the first one of a SIM that changed its plan at a moment."""
    sims = world.sims(2)
    earlier = world.instance(sims[:1])
    world.execute(
        "UPDATE amop.rate_plan_change SET state = 'applied', applied_at = %s WHERE instance_id = %s", at, earlier
    )
    instance_id = world.instance(sims)
    assert world.plan(instance_id) == "approved"
    return instance_id, sims


@pytest.mark.parametrize(
    ("settings", "at", "reason"),
    [
        ({"maximum_changes_per_sim": 1}, NOW - timedelta(days=9), "maximum_changes_per_sim is 1; it was not sent"),
        ({"minimum_days_on_plan": 7}, NOW - timedelta(days=6), "less than minimum_days_on_plan = 7 days ago"),
        ({"minimum_days_on_plan": 30}, CYCLE_START - timedelta(days=2), "less than minimum_days_on_plan = 30 days ago"),
    ],
)
def test_a_change_beyond_a_limit_at_the_time_of_sending_is_rejected_with_the_reason(
    world: ChangesWorld, settings: dict[str, Any], at: datetime, reason: str
) -> None:
    instance_id, sims = approved_after_a_change(world, at)
    world.set_provider(**settings)  # after the approval
    before = world.plans()
    assert world.apply(instance_id) == {"applied": 1, "rejected": 1}
    change = world.changes(instance_id)[sims[0]["iccid"]]
    assert (change["state"], change["applied_at"], change["sent_at"]) == ("rejected", None, None)
    assert reason in change["error"]
    assert world.calls()["PUT"] == 1
    assert world.plans()[sims[0]["iccid"]] == before[sims[0]["iccid"]]
    assert world.row(instance_id)["changes_status"] == "applied"


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"maximum_changes_per_sim": 1}, CYCLE_START - timedelta(days=1)),
        ({"maximum_changes_per_sim": 2}, NOW - timedelta(days=9)),
        ({"minimum_days_on_plan": 7}, NOW - timedelta(days=7)),
    ],
)
def test_a_change_within_the_limits_is_sent(world: ChangesWorld, settings: dict[str, Any], at: datetime) -> None:
    instance_id, _ = approved_after_a_change(world, at)
    world.set_provider(**settings)
    assert world.apply(instance_id) == {"applied": 2}


@pytest.mark.parametrize(
    ("limit", "at", "states"),
    [
        (1, NOW - timedelta(days=9), {"applied": 1, "rejected": 1}),
        (2, NOW - timedelta(days=9), {"applied": 2}),
        (1, datetime(2026, 11, 1, 3, 59, tzinfo=UTC), {"applied": 2}),  # it was October in New York
        (1, datetime(2026, 11, 1, 4, 0, tzinfo=UTC), {"applied": 1, "rejected": 1}),
    ],
)
def test_a_sim_that_the_carrier_has_changed_often_enough_this_month_is_left_out_by_name(
    world: ChangesWorld, monkeypatch: pytest.MonkeyPatch, limit: int, at: datetime, states: dict[str, int]
) -> None:
    family = FAMILIES["control_center"]
    limits = Limits(calls_per_second=5.0, changes_per_sim_and_month=limit)
    monkeypatch.setitem(FAMILIES, "control_center", replace(family, limits=limits))
    instance_id, sims = approved_after_a_change(world, at)
    assert world.apply(instance_id) == states
    change = world.changes(instance_id)[sims[0]["iccid"]]
    said = "has changed 1 time this month, and the carrier accepts 1 plan change of a SIM in a month; it was not sent"
    assert (change["error"] or "").endswith(said) == ("rejected" in states)
    assert world.calls()["PUT"] == states["applied"]


def test_a_change_that_counts_only_from_the_next_period_is_not_sent(world: ChangesWorld) -> None:
    instance_id, sims = approved_after_a_change(world, NOW - timedelta(days=9))
    plans = {plan.rate_plan_code: plan.rate_charge + plan.base_rate for plan in world.provider.rate_plans}
    downgrades = {sim["iccid"] for sim in sims if plans[sim["target"]] < plans[sim["rate_plan"]]}
    world.set_provider(upgrade_effect="whole_cycle", downgrade_effect="next_cycle")
    world.apply(instance_id)
    states = {iccid: change["state"] for iccid, change in world.changes(instance_id).items()}
    assert states == {sim["iccid"]: "rejected" if sim["iccid"] in downgrades else "applied" for sim in sims}
    world.set_provider(upgrade_effect="next_cycle")
    other = world.instance(world.sims(1))
    assert world.plan(other) == "approved"
    assert world.apply(other) == {"rejected": 1}


def test_the_first_plan_of_a_sim_that_has_none_is_sent_whenever_changes_count(world: ChangesWorld) -> None:
    (sim,) = world.sims(1)
    world.carrier.change_devices([sim["iccid"]], rate_plan=None)
    world.set_provider(upgrade_effect="next_cycle", downgrade_effect="next_cycle")
    instance_id = world.instance([sim | {"rate_plan": None}])
    assert world.plan(instance_id) == "approved"
    assert world.apply(instance_id) == {"applied": 1}


def test_with_next_cycle_the_decision_says_why_nothing_is_to_be_changed(world: ChangesWorld) -> None:
    world.set_provider(upgrade_effect="next_cycle", downgrade_effect="next_cycle")
    instance_id = world.instance([])
    assert world.plan(instance_id) == "nothing_to_change"
    assert world.row(instance_id)["changes_reason"] == "plan changes count from the next billing period only"
