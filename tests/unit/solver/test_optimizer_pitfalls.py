"""Pitfalls of billing and of optimizers, one test each."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amop.solver import OptimizerInputError, Terms, verify
from bench.instances import make_instance
from bench.price_lists import random_instance
from tests.worlds.optimizer_cases import Case, case, changes_of, every_bill, plain_bill

ROOT = Path(__file__).resolve().parents[3]
PRORATED = Terms(30, True)
SMALL_AND_LARGE: list[dict[str, Any]] = [
    {"rate_charge": 1, "plan_mb": 1, "overage_rate": "0.5"},
    {"rate_charge": 4, "plan_mb": 10},
]


def bill_of(fleet: Case, *plans: int) -> Decimal:
    """Return the bill of an assignment in currency."""
    units = fleet.model.bill(np.array(plans, dtype=np.int64))
    assert units == plain_bill(fleet, np.array(plans))
    return Decimal(units).scaleb(-6)


def test_blocks_of_a_tenth_of_a_megabyte_are_not_over_billed_by_a_block() -> None:
    assert math.ceil((0.4 - 0.1) / 0.1) == 4  # in doubles
    plan = {"rate_charge": 0, "plan_mb": "0.1", "overage_rate": 1, "data_per_overage_charge": "0.1"}
    assert bill_of(case(["0.4"], [plan]), 0) == 3
    assert bill_of(case(["0.4", "0.4"], [{**plan, "pool": "p"}]), 0, 0) == 6


def test_a_full_block_is_not_rounded_up() -> None:
    plan = {"rate_charge": 0, "plan_mb": 1, "overage_rate": 1, "data_per_overage_charge": 2}
    for usage, blocks in (("1", 0), ("1.000001", 1), ("3", 1), ("3.000001", 2), ("0", 0)):
        assert bill_of(case([usage], [plan]), 0) == blocks
        assert bill_of(case([usage], [{**plan, "pool": "p"}]), 0) == blocks


def test_overage_of_a_pool_is_rounded_once_not_once_for_each_sim() -> None:
    plan = {"rate_charge": 0, "plan_mb": 1, "overage_rate": 1, "data_per_overage_charge": 1}
    usage = ["1.3", "1.3", "1.3"]
    assert bill_of(case(usage, [plan]), 0, 0, 0) == 3
    assert bill_of(case(usage, [{**plan, "pool": "p"}]), 0, 0, 0) == 1


def test_a_pool_in_credit_is_no_refund_and_helps_no_other_pool() -> None:
    small = {"rate_charge": 1, "plan_mb": 100, "pool": "rich"}
    large = {"rate_charge": 2, "plan_mb": 1, "pool": "poor"}
    assert bill_of(case(["0", "3"], [small, large]), 0, 1) == 1 + 2 + 2
    assert bill_of(case(["0", "0"], [small, large]), 0, 0) == 2


@pytest.mark.parametrize(
    ("columns", "plan", "named"),
    [
        ({"usage_micro_mb": [5, 2**62]}, {}, "usage of all devices together"),
        (
            {"usage_micro_mb": [5, 10**14]},
            {"overage_rate": 10**6, "data_per_overage_charge": "0.000001"},
            "device '89000000000000000001': usage x overage_rate",
        ),
        ({"sms_usage": [10**13, 1]}, {"sms_rate": 10**6}, "device '89000000000000000000': sms_usage x sms_rate"),
        ({}, {"rate_charge": 10**12}, "rate plan 'plan 0': rate_charge"),
        ({}, {"base_rate": 9 * 10**12}, "rate plan 'plan 0': base_rate"),
        ({}, {"plan_mb": 10**12}, "rate plan 'plan 0': included data"),
    ],
)
def test_input_that_would_overflow_is_an_error_that_names_it(
    columns: dict[str, Any], plan: dict[str, Any], named: str
) -> None:
    fleet = case([0, 0], [plan]).with_devices(**{name: np.array(values) for name, values in columns.items()})
    with pytest.raises(OptimizerInputError, match=f"^{named}|^the {named}"):
        fleet.optimize()


def test_large_but_possible_numbers_are_billed_and_bounded_exactly() -> None:
    plans = [
        {"rate_charge": "999999.999999", "plan_mb": 1, "overage_rate": "0.999983", "pool": "p"},
        {"rate_charge": "0.000001", "plan_mb": 0, "overage_rate": "0.999983", "pool": "p"},
    ]
    fleet = case(["900000.000001"] * 500, plans)
    result = fleet.optimize(time_limit=0)
    assert result.total_cost == plain_bill(fleet, result.assignment) == 500 + 450_000_001 * 999_983
    verify(result.certificate, result.model, result.assignment)


def test_a_sim_activated_on_the_last_day_pays_one_day_rounded_half_up() -> None:
    plans = [{"rate_charge": "1.00", "base_rate": "0.25", "plan_mb": 30, "overage_rate": 1}]
    last_day = {"days_active": [1], "is_prorated": [True]}
    assert bill_of(case([2], plans, terms=PRORATED, **last_day), 0) == Decimal("0.283333")
    half = [{"rate_charge": "0.000015", "plan_mb": 30}]
    assert bill_of(case([0], half, terms=PRORATED, **last_day), 0) == Decimal("0.000001")  # half of 1e-6 is rounded up
    prorated = Terms(30, uses_proration=True, prorate_allowance=True)
    assert bill_of(case([2], plans, terms=prorated, **last_day), 0) == Decimal("1.283333")  # 1 of 30 MB is included
    assert bill_of(case([2], plans, terms=Terms(30, False, True), **last_day), 0) == Decimal("1.25")


def test_a_sim_activated_before_the_period_pays_the_whole_of_it() -> None:
    fleet = case([2], [{"rate_charge": 3, "plan_mb": 5}], terms=PRORATED, days_active=[12], is_prorated=[False])
    assert bill_of(fleet, 0) == 3
    assert fleet.optimize().total_cost == 3_000_000


@pytest.mark.parametrize("days", [0, -4, 31])
def test_a_sim_activated_after_the_period_is_an_error_that_names_it(days: int) -> None:
    fleet = case([2, 2], [{}], terms=PRORATED, days_active=[30, days], is_prorated=[False, True])
    with pytest.raises(OptimizerInputError, match=r"^device '89000000000000000001': days_active .* 1 and 30"):
        fleet.optimize()


def test_a_device_without_an_eligible_plan_keeps_its_plan_and_is_excluded_from_bill_and_bound() -> None:
    lonely = case(
        [1, 500, 2],
        SMALL_AND_LARGE,
        allowed=[[1, 1], [0, 0]],
        communication_plan=[0, 1, 0],
        current_rate_plan=[0, 1, 0],
    )
    result = lonely.optimize()
    assert result.assignment.tolist() == [0, -1, 0]
    without = lonely.only(np.array([0, 2])).optimize()
    for name in ("total_cost", "lower_bound", "current_cost", "base_cost", "changes"):
        assert getattr(result, name) == getattr(without, name), name
    assert result.status == "optimal"
    verify(result.certificate, result.model, result.assignment)


def test_a_fleet_in_which_no_device_has_an_eligible_plan_costs_nothing() -> None:
    result = case([1, 2], SMALL_AND_LARGE, allowed=[[0, 0]], current_rate_plan=[0, 1]).optimize()
    assert (result.assignment.tolist(), result.total_cost, result.lower_bound) == ([-1, -1], 0, 0)


def test_a_plan_without_devices_changes_nothing() -> None:
    plans = [*SMALL_AND_LARGE, {"rate_charge": 0, "plan_mb": 9999, "pool": "empty"}]
    with_it = case([1, 5, 9], plans, allowed=[[1, 1, 0], [0, 0, 1]]).optimize()
    assert with_it.total_cost == case([1, 5, 9], SMALL_AND_LARGE).optimize().total_cost
    assert (with_it.assignment < 2).all()


@pytest.mark.parametrize("reason", ["retired", "not allowed"])
def test_a_sim_on_a_plan_that_it_may_not_keep_must_move_which_is_not_a_voluntary_change(reason: str) -> None:
    plans = [{**SMALL_AND_LARGE[0], "is_retired": reason == "retired"}, *SMALL_AND_LARGE[1:]]
    allowed = [[1, 1]] if reason == "retired" else [[0, 1]]
    fleet = case([0, 0], plans, allowed=allowed, current_rate_plan=[0, 1])
    result = fleet.optimize(max_changes=0, min_saving_per_change=1000)
    assert result.assignment.tolist() == [1, 1]
    assert result.certificate.changes is not None
    assert (result.certificate.changes.change_count, result.changes) == (0, 1)
    assert result.current_cost == 5_000_000  # on the current plans
    assert result.total_cost == result.lower_bound == 8_000_000
    verify(result.certificate, result.model, result.assignment)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"overage_rate": 0}, "rate plan 'plan 1': data_per_overage_charge and overage_rate must be above 0"),
        ({"overage_rate": -1}, "rate plan 'plan 1': data_per_overage_charge and overage_rate must be above 0"),
        ({"data_per_overage_charge": 0}, "rate plan 'plan 1': data_per_overage_charge and overage_rate must be"),
        ({"rate_charge": -1}, "rate plan 'plan 1': a price or the included data is negative"),
        ({"plan_mb": -1}, "rate plan 'plan 1': a price or the included data is negative"),
        ({"pool": "p", "overage_rate": 2}, "plan 0, plan 1.* must share one overage rate and block"),
    ],
)
def test_an_invalid_plan_is_named(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(OptimizerInputError, match=message):
        case([1], [{"pool": "p"}, plan]).optimize()


def test_duplicate_devices_are_named() -> None:
    fleet = case([1, 2, 3, 4], [{}]).with_devices(device_id=np.array(["b", "a", "b", "a"]))
    with pytest.raises(OptimizerInputError, match="device 'a' occurs more than once"):
        fleet.optimize()


@pytest.mark.parametrize("plans", [[], SMALL_AND_LARGE])
@pytest.mark.parametrize("preference", [{}, {"max_changes": 3, "min_saving_per_change": 1}])
def test_an_empty_fleet_costs_nothing(plans: list[dict[str, Any]], preference: dict[str, Any]) -> None:
    result = case([], plans).optimize(**preference)
    assert (result.total_cost, result.lower_bound, result.gap, result.changes) == (0, 0, 0.0, 0)
    assert result.status == "optimal"
    verify(result.certificate, result.model, result.assignment)


def test_one_device_goes_to_its_cheapest_plan() -> None:
    for usage, plan in ((0, 0), (1, 0), (6, 0), (7, 0), ("7.000001", 1), (1000, 0)):
        fleet = case([usage], [*SMALL_AND_LARGE, {"rate_charge": 400, "plan_mb": 1, "pool": "p"}])
        result = fleet.optimize()
        assert (result.assignment.tolist(), result.status) == ([plan], "optimal"), usage
        assert result.total_cost == every_bill(fleet)[0].min()


def test_devices_without_usage_go_to_the_cheapest_plan() -> None:
    result = case([0] * 5000, [{"rate_charge": 2, "plan_mb": 100, "pool": "p"}, *SMALL_AND_LARGE]).optimize()
    assert (result.total_cost, result.lower_bound, result.status) == (5000 * 10**6, 5000 * 10**6, "optimal")
    assert set(result.assignment.tolist()) == {1}


@pytest.mark.parametrize("count", [10, 2000])
def test_duplicate_sims_are_not_swapped_without_a_saving(count: int) -> None:
    plans = [{"rate_charge": 1, "plan_mb": 0, "pool": "p"}, {"rate_charge": 3, "plan_mb": 10, "pool": "p"}]
    best = np.where(np.arange(count) % 5 < 3, 0, 1)  # two of five SIMs include the data of all five
    fleet = case([4] * count, plans, current_rate_plan=best)
    result = fleet.optimize(time_limit=0)
    assert result.total_cost == result.current_cost == result.lower_bound
    assert (result.changes, result.assignment.tolist()) == (0, best.tolist())
    one_off = best.copy()
    one_off[0] = 1
    assert case([4] * count, plans, current_rate_plan=one_off).optimize(time_limit=0).changes == 1


def test_among_equal_plans_the_current_one_is_kept() -> None:
    plans = [{"code": f"equal {number}", "rate_charge": 2, "plan_mb": 5} for number in range(3)]
    current = [2, 0, 1, 2, 2, 0]
    assert case([3] * 6, plans, current_rate_plan=current).optimize().assignment.tolist() == current


ANSWER = """
import hashlib, sys
import numpy as np
from bench.instances import make_instance
from tests.worlds.optimizer_cases import Case
from amop.solver import Terms
instance = make_instance("default", 3500)
fleet = Case(instance.devices, instance.rate_plans, instance.eligibility, Terms(30, True))
rows = np.random.default_rng(int(sys.argv[1])).permutation(3500) if int(sys.argv[1]) else np.arange(3500)
for preference in ({}, {"max_changes": 300}):
    result = fleet.only(rows).optimize(time_limit=0, **preference)
    back = result.assignment[np.argsort(rows)]
    print(hashlib.sha256(back.tobytes()).hexdigest(), result.total_cost, result.certificate.price)
"""


def test_neither_the_order_of_rows_nor_the_number_of_threads_changes_the_answer() -> None:
    answers = []
    for seed, threads in ((0, "1"), (7, "2")):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HIGHS_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, "-c", ANSWER, str(seed)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
        )
        answers.append(done.stdout)
    assert answers[0] == answers[1]
    assert len(answers[0].splitlines()) == 2


def test_repeated_runs_in_one_process_give_the_same_bytes() -> None:
    instance = make_instance("heavy_tail", 2000)
    fleet = Case(instance.devices, instance.rate_plans, instance.eligibility, PRORATED)
    first, second = fleet.optimize(time_limit=0), fleet.optimize(time_limit=0)
    assert hashlib.sha256(first.assignment.tobytes()).digest() == hashlib.sha256(second.assignment.tobytes()).digest()
    assert first.certificate == second.certificate


def test_the_bound_of_the_penalized_objective_is_not_reported_as_the_bound_of_the_bill() -> None:
    instance = make_instance("default", 500)
    fleet = Case(instance.devices, instance.rate_plans, instance.eligibility, PRORATED)
    free = fleet.optimize(time_limit=0)
    penalized = fleet.optimize(time_limit=0, min_saving_per_change=50)
    proof = penalized.certificate.changes
    assert proof is not None
    assert proof.bound > free.total_cost  # as a bound of the bill it would be wrong
    assert penalized.lower_bound <= free.total_cost
    assert proof.objective == penalized.total_cost + 50_000_000 * changes_of(fleet, penalized.assignment)


def test_the_optimizer_is_imported_fast_and_without_a_compiler() -> None:
    code = (
        "import time; begun = time.process_time(); import numpy, highspy; between = time.process_time()\n"
        "import amop.solver; print(between - begun, time.process_time() - between)\n"
        "import sys; print([name for name in ('numba', 'jax', 'torch', 'polars', 'airflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
    )
    times, compilers = done.stdout.splitlines()
    libraries, ours = (float(part) for part in times.split())
    assert ours < 2 * libraries
    assert compilers == "[]"


@pytest.mark.parametrize("seed", [29, 47, 199])
def test_a_cap_on_changes_is_proved_where_an_overage_block_costs_more_than_integers_hold(seed: int) -> None:
    instance = random_instance(12 + seed % 20, seed)
    result = Case(instance.devices, instance.rate_plans, instance.eligibility, PRORATED).optimize(max_changes=2)
    verify(result.certificate, result.model, result.assignment)
    assert result.certificate.changes is not None and result.certificate.changes.change_count <= 2
