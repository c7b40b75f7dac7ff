"""Laws of what is at stake for a SIM: a change that is better in every scenario is never doubtful."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.solver.model import MICRO
from amop.solver.stake import DOUBT_TO_WAIT, Stakes, stakes_of
from tests.worlds.optimizer_cases import Case, random_case
from tests.worlds.scenario_cases import optimize_scenarios, random_scenarios

quick = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
fleets = st.builds(random_case, seeds, st.integers(1, 60), st.integers(1, 6))


def stakes(fleet: Case, seed: int, count: int) -> tuple[Stakes, np.ndarray]:
    result = optimize_scenarios(fleet, random_scenarios(fleet, seed, count), time_limit=0)
    return stakes_of(result.bills, result.certificate, result.assignment), result.assignment


@quick
@given(fleets, seeds, st.integers(2, 9))
def test_a_change_that_is_better_in_every_scenario_is_never_doubtful(fleet: Case, seed: int, count: int) -> None:
    found, _ = stakes(fleet, seed, count)
    is_certain = found.certainty == MICRO
    assert not found.is_doubtful()[is_certain].any()
    assert (found.regret[is_certain] == 0).all()


@quick
@given(fleets, seeds, st.integers(2, 9))
def test_only_a_sim_that_may_stay_on_its_plan_and_moves_is_doubtful(fleet: Case, seed: int, count: int) -> None:
    found, assignment = stakes(fleet, seed, count)
    current = fleet.devices.current_rate_plan
    assert not found.is_doubtful()[(assignment == current) | (current < 0) | (assignment < 0)].any()
    assert (found.saving[~found.may_stay] == 0).all()
    retired = np.isin(current, np.flatnonzero(fleet.rate_plans.is_retired))
    assert not found.is_doubtful()[retired].any()


@quick
@given(fleets, seeds)
def test_in_the_same_usage_again_and_again_nothing_is_doubtful(fleet: Case, seed: int) -> None:
    usage = np.repeat(fleet.devices.usage_micro_mb[:, None], 4, axis=1)
    result = optimize_scenarios(fleet, usage, time_limit=0)
    found = stakes_of(result.bills, result.certificate, result.assignment)
    without_pool = fleet.rate_plans.pool[np.maximum(result.assignment, 0)] < 0
    pools = (fleet.rate_plans.pool >= 0).any()
    assert pools or not found.is_doubtful()[without_pool].any()


@quick
@given(fleets, seeds, st.integers(2, 9), st.floats(0, 5), st.floats(0, 5))
def test_a_higher_limit_lets_fewer_changes_wait(fleet: Case, seed: int, count: int, one: float, other: float) -> None:
    found, _ = stakes(fleet, seed, count)
    assert not (found.is_doubtful(max(one, other)) & ~found.is_doubtful(min(one, other))).any()


def test_the_limit_compares_the_regret_with_the_expected_saving() -> None:
    at_limit = round(DOUBT_TO_WAIT * MICRO)
    found = Stakes(
        value=np.zeros(5, dtype=np.int64),
        regret=np.array([at_limit, at_limit + 1, at_limit + 1, 5, 0]),
        saving=np.array([MICRO, MICRO, MICRO, -MICRO, -MICRO]),
        certainty=np.full(5, MICRO // 2),
        may_stay=np.array([True, True, False, True, True]),
    )
    assert found.is_doubtful().tolist() == [False, True, False, True, False]
    assert not replace(found, may_stay=np.zeros(5, dtype=np.bool_)).is_doubtful().any()
