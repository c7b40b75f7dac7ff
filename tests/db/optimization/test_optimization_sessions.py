"""Sessions of optimizations: each step is in the outbox once, even if it is repeated or killed at any time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from amop.database.connection import transaction
from amop.optimization import inputs, results, solve
from amop.optimization.errors import InputsChangedError
from amop.optimization.instances import InstanceEndedError, OptimizationRequestError
from amop.runs.sessions import (
    SessionAlreadyRunningError,
    end_instance_of_failed_session,
    open_session,
)
from tests.worlds.optimization_fleet import add_fleet, add_ladder, dump, result_of
from tests.worlds.optimization_world import CYCLE_END, NOW, OptimizationWorld

ALL_STEPS = [0, 20, 30, 40, 50, 100]


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    return OptimizationWorld(warehouse_dsn)


# Sessions


def test_progress_is_told_step_by_step_in_the_transaction_of_each_step(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world, 5)
    instance_id = world.open()
    sent = [world.messages()]
    for step in world.steps(instance_id):
        step()
        sent.append(world.messages())
    assert [messages[-1] for messages in sent] == [20, 20, 20, 30, 40, 50, 50, 100]
    assert sent[-1] == ALL_STEPS
    last = world.execute("SELECT payload FROM amop.amop_outbox ORDER BY id DESC LIMIT 1")[0]["payload"]["data"]
    assert last["DeviceCount"] == 5


def test_a_run_of_the_sync_s_session_goes_on_at_twenty_percent(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world, 3)
    session_id = _session_of_a_sync(world, "complete")
    instance = world.optimize(optimization_session_id=session_id, billing_period_id=world.billing_period_id)
    assert instance["session_id"] == session_id
    assert world.messages() == ALL_STEPS


def test_a_second_run_of_a_provider_is_refused_and_names_the_first(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.open(opened_by="carrier_optimization_jasper/first")
    with pytest.raises(SessionAlreadyRunningError, match="opened by carrier_optimization_jasper/first"):
        world.open(opened_by="carrier_optimization_jasper/second")


def test_opening_again_finds_the_same_session_and_instance(world: OptimizationWorld) -> None:
    add_ladder(world)
    first = world.open(apply_changes="never")
    assert world.open(now=NOW + timedelta(hours=1)) == first
    instance = world.instance(first)
    assert (instance["usage_as_of"], instance["apply_changes"]) == (NOW, "never")
    assert world.messages() == [0, 20]


def test_a_session_that_has_ended_is_not_taken_up_again(world: OptimizationWorld) -> None:
    add_ladder(world)
    done = world.optimize()
    assert world.open() == done["id"]  # an operator has cleared the run: nothing is left to do
    assert world.messages() == ALL_STEPS
    with pytest.raises(InstanceEndedError, match="has ended"):
        inputs.group_communication_plans(world.dsn, done["id"])


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda ids: {"service_provider_id": 99}, "99 is not a provider of integration 'jasper'"),
        (lambda ids: {"integration": "rogers"}, "1 is not a provider of integration 'rogers'"),
        (lambda ids: {"billing_period_id": 99}, "99 is not a billing period of provider 1 'AT&T'"),
        (lambda ids: {"service_provider_id": 2, "optimization_session_id": ids["session"]}, "is a session of AT&T"),
        (
            lambda ids: {"optimization_session_id": ids["session"], "billing_period_id": ids["other period"]},
            "is for billing period 1, not for billing_period_id 2",
        ),
    ],
)
def test_ids_that_do_not_belong_together_are_refused_and_the_session_is_left_alone(
    world: OptimizationWorld, request_of: Callable[[dict[str, int]], dict[str, Any]], message: str
) -> None:
    world.insert(
        "service_provider", id=2, tenant_id=1, integration_id=1, name="Other", connection_id="c", time_zone="UTC"
    )
    other = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=12,
        cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + timedelta(days=30),
    )
    session_id = _session_of_a_sync(world, "complete")
    before = dump(world)
    with pytest.raises(OptimizationRequestError, match=message):
        world.open(**request_of({"session": session_id, "other period": other}))
    assert dump(world) == before


def test_a_session_whose_sync_still_runs_is_not_optimized_on_stale_data(world: OptimizationWorld) -> None:
    session_id = _session_of_a_sync(world, "running")
    with pytest.raises(OptimizationRequestError, match="its device sync .* has not ended"):
        world.open(optimization_session_id=session_id)


def test_the_instance_of_a_session_that_failed_elsewhere_ends_with_the_session_s_error(
    world: OptimizationWorld,
) -> None:
    add_ladder(world)
    instance_id = world.open()
    session_id = world.instance(instance_id)["session_id"]
    end_instance_of_failed_session(world.dsn, session_id, now=NOW)
    assert world.instance(instance_id)["run_status"] == "running"
    world.execute("UPDATE amop.optimization_session SET status = 'failed', error = 'the disk is full'")
    end_instance_of_failed_session(world.dsn, session_id, now=NOW)
    assert world.instance(instance_id)["error"] == "the disk is full"
    with pytest.raises(InstanceEndedError, match="the disk is full"):
        inputs.group_communication_plans(world.dsn, instance_id)


# Again, and after a kill


def test_every_step_may_run_again_at_any_later_time_and_changes_nothing(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    steps = world.steps(instance_id)
    for done in range(1, len(steps)):
        steps[done - 1]()
        before = dump(world)
        for step in steps[:done]:
            step()
        assert dump(world) == before
    steps[-1]()
    before = dump(world)
    steps[-1]()
    assert dump(world) == before


class Killed(BaseException):
    """The process is gone in the middle of a step."""


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (inputs, "advance_session"),
        (inputs, "_store_device_counts"),
        (inputs, "touch_session"),
        (solve, "advance_session"),
        (results, "touch_session"),
        (results, "complete_session"),
    ],
)
def test_a_step_killed_before_its_commit_leaves_nothing_and_its_retry_ends_as_if_nothing_had_been(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    original = getattr(module, function)
    killed = 0

    def kill_once(*arguments: Any, **named: Any) -> Any:
        nonlocal killed
        if not killed:
            killed += 1
            raise Killed
        return original(*arguments, **named)

    monkeypatch.setattr(module, function, kill_once)
    for step in world.steps(instance_id):
        before = dump(world)
        try:
            step()
        except Killed:
            assert dump(world) == before
            step()
    assert killed == 1
    interrupted = result_of(world)
    assert interrupted["messages"] == ALL_STEPS
    assert len(interrupted["results"]) == 60


def test_two_processes_that_run_the_same_step_at_the_same_time_write_it_once(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    with ThreadPoolExecutor(2) as pool:
        for step in world.steps(instance_id)[:-1]:
            for future in [pool.submit(step), pool.submit(step)]:
                future.result()
    world.steps(instance_id)[-1]()
    instance = world.instance(instance_id)
    assert sum(row["to_cost"] for row in world.results().values()) == instance["total_cost"]
    assert world.messages() == ALL_STEPS


def test_rate_plans_that_change_between_two_steps_are_noticed_before_anything_wrong_is_written(
    world: OptimizationWorld,
) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    steps = world.steps(instance_id)
    for step in steps[:4]:
        step()
    world.execute("UPDATE amop.carrier_rate_plan SET rate_charge = rate_charge + 0.000001")
    before = dump(world)
    with pytest.raises(InputsChangedError, match="current cost is .* was stored before"):
        steps[4]()
    assert dump(world) == before


def test_results_do_not_depend_on_the_order_in_which_the_sims_were_added(world: OptimizationWorld) -> None:
    add_ladder(world)
    sims = [
        (f"89011700000000000{number:02d}", ["Small", "Large", "Pooled"][number % 3], number * 3.7)
        for number in range(40)
    ]
    for iccid, plan, mb in sims:
        world.add_sim(iccid, "Tracking", plan, mb)
    world.optimize()
    first = {iccid: (row["to_rate_plan"], row["to_cost"]) for iccid, row in world.results().items()}
    world.execute("DELETE FROM amop.rate_plan_change")
    world.execute("DELETE FROM amop.optimization_instance")
    world.execute("DELETE FROM amop.device")
    for iccid, plan, mb in reversed(sims):
        world.add_sim(iccid, "Tracking", plan, mb)
    world.optimize(opened_by="carrier_optimization_jasper/second")
    assert {iccid: (row["to_rate_plan"], row["to_cost"]) for iccid, row in world.results().items()} == first


def _session_of_a_sync(world: OptimizationWorld, status: str) -> int:
    """Open a session as a device sync does and leave the sync in a status."""
    with transaction(world.dsn) as connection:
        session = open_session(
            connection,
            service_provider_id=1,
            billing_period_id=world.billing_period_id,
            opened_by="device_sync_jasper/r",
        )
    world.insert(
        "device_sync_run",
        service_provider_id=1,
        dag_id="device_sync_jasper",
        dag_run_id="r",
        status=status,
        billing_period_id=world.billing_period_id,
        is_full=True,
        optimization_session_id=session.id,
    )
    return session.id
