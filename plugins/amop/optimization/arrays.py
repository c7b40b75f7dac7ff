"""Inputs and assignments of an optimization as numpy arrays: built from the store's rows, written back by COPY.

The only module of the subject's store side that needs numpy: `amop.optimization.store` does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amop.database.columns import ColumnRow, write_numbers
from amop.database.connection import WarehouseConnection
from amop.families import monthly_change_limits
from amop.optimization import store
from amop.optimization.assignment_reasons import reasons_of
from amop.optimization.change_effects import days_left, effects_of
from amop.optimization.comm_groups import PLACED
from amop.optimization.rows import Instance, RatePlan, ResultTotals, StoredCommGroup
from amop.reference.billing_period import days_in_period
from amop.solver import Terms
from amop.solver.mid_cycle import LeftPlans, MidCycle, mid_cycle_of
from amop.solver.model import NONE, Devices, Eligibility, Flags, Integers, RatePlans, micro, pools_of
from amop.solver.stake import Stakes

COPY_BASE_ASSIGNMENT = (
    "COPY amop.optimization_base_assignment (instance_id, device_id, rate_plan_id) FROM STDIN (FORMAT binary)"
)
COPY_SOLVED_ASSIGNMENT = (
    "COPY amop.optimization_solved_assignment (instance_id, device_id, rate_plan_id) FROM STDIN (FORMAT binary)"
)
USAGE_PERCENTS = tuple(range(5, 100, 10))
"""The usages that are stored of each SIM: the middles of ten equally likely ranges."""
COPY_DEVICE_FORECASTS = (
    "COPY amop.optimization_device_forecast (instance_id, device_id, "
    + "".join(f"usage_{percent}_percent, " for percent in USAGE_PERCENTS)
    + "value_at_stake, expected_regret, expected_saving, certainty, is_doubtful) FROM STDIN (FORMAT binary)"
)
COPY_DEVICE_COSTS = "COPY device_cost (device_id, from_cost, to_cost) FROM STDIN (FORMAT binary)"
"""For `amop.database.columns.write_numbers`; ``device_cost`` is the table of `create_costs`."""


@dataclass(frozen=True, slots=True)
class BilledDevices(ColumnRow):
    """The billed SIMs of an instance, placed and kept ones, as columns of one length."""

    device_id: npt.NDArray[np.int64]
    iccid: npt.NDArray[np.str_]
    comm_group_id: npt.NDArray[np.int64]
    usage_micro_mb: npt.NDArray[np.int64]
    """Projected usage, 1e-6 MB."""
    sms_usage: npt.NDArray[np.int64]
    days_activated: npt.NDArray[np.int64]
    is_prorated: npt.NDArray[np.int64]
    """1 or 0."""
    current_rate_plan_id: npt.NDArray[np.int64]
    """0 for an unknown rate plan."""
    solved_rate_plan_id: npt.NDArray[np.int64]
    """0 until the instance is solved."""
    is_kept: npt.NDArray[np.int64]
    """1 for a SIM that keeps its present plan, else 0."""
    sms_is_read: npt.NDArray[np.int64]
    """1 or 0."""
    measured_micro_mb: npt.NDArray[np.int64]
    """Usage until ``usage_as_of``, 1e-6 MB."""
    later_sms_usage: npt.NDArray[np.int64]
    """Messages expected after it; 0 unless a plan change counts from its day."""
    history_days: npt.NDArray[np.int64]
    """Usage days that the projection is based on; 0 for one by the elapsed time, or of usage that is final."""


@dataclass(frozen=True, slots=True)
class LeftPlanRows(ColumnRow):
    """Plans that SIMs had left within the period, as columns of one length."""

    device_id: npt.NDArray[np.int64]
    rate_plan_id: npt.NDArray[np.int64]
    days: npt.NDArray[np.int64]
    usage_micro_mb: npt.NDArray[np.int64]
    sms_usage: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UsageOfDay(ColumnRow):
    """SIMs with usage on one usage day, as columns of one length."""

    device_id: npt.NDArray[np.int64]
    data_usage: npt.NDArray[np.int64]
    """Bytes, above 0."""


@dataclass(frozen=True, slots=True)
class InstanceInputs:
    """The billed SIMs of an instance as the solver takes them, and the ids of the rows in the warehouse."""

    devices: Devices
    rate_plans: RatePlans
    eligibility: Eligibility
    device_ids: Integers
    """Ascending."""
    rate_plan_ids: Integers
    solved_assignment: Integers
    """Index of the rate plan of each SIM, -1 until it is stored."""
    mid_cycle: MidCycle | None
    """What a plan change cannot affect any more, where it counts from its day; else None."""
    measured_micro_mb: Integers
    """Usage of each SIM until ``usage_as_of``, shape (N,)."""
    history_days: Integers
    """See `BilledDevices`, shape (N,)."""


def read_inputs(connection: WarehouseConnection, instance: Instance) -> InstanceInputs:
    """Return the billed SIMs of an instance as arrays, in the order of their ids.

    Raises:
        OptimizerInputError: a price is beyond 64 bits.
    """
    effects = effects_of(instance)
    groups = store.comm_groups.comm_groups(connection, instance_id=instance.id)
    billed = store.sims.billed_devices(connection, instance_id=instance.id)
    order = np.argsort(billed.device_id)
    current = billed.current_rate_plan_id[order]
    needed = {rate_plan_id for group in groups if group.outcome in PLACED for rate_plan_id in group.rate_plan_ids}
    needed |= set(np.unique(current).tolist())
    left = store.sims.left_plans(connection, instance_id=instance.id) if effects.count_from_change else None
    if left is not None:
        needed |= set(np.unique(left.rate_plan_id).tolist())
    rate_plans = store.comm_groups.rate_plans(connection, rate_plan_ids=sorted(needed))
    rate_plan_ids = np.array([plan.id for plan in rate_plans], dtype=np.int64)
    plan_arrays = rate_plans_as_arrays(rate_plans)
    current_rate_plan = _index_of(current, rate_plan_ids)
    period_days = days_in_period(instance.cycle_start, instance.cycle_end, instance.time_zone)
    remaining = days_left(instance.usage_as_of, cycle_end=instance.cycle_end, period_days=period_days)
    choice, eligibility = _eligibility(
        groups,
        rate_plans,
        group=_index_of(billed.comm_group_id[order], np.array([group.id for group in groups], dtype=np.int64)),
        kept_plan=np.where(billed.is_kept[order] != 0, current_rate_plan, NONE),
        sms_is_read=billed.sms_is_read[order],
        present_plan=current_rate_plan,
        counts=None if effects.is_default else effects.counting(plan_arrays, days_left=remaining),
    )
    devices = Devices(
        device_id=billed.iccid[order],
        communication_plan=choice,
        usage_micro_mb=billed.usage_micro_mb[order],
        sms_usage=billed.sms_usage[order] + billed.later_sms_usage[order],
        days_active=billed.days_activated[order],
        is_prorated=billed.is_prorated[order] != 0,
        current_rate_plan=current_rate_plan,
    )
    mid_cycle = None
    if left is not None:
        mid_cycle = mid_cycle_of(
            devices,
            _left_plans(left, billed.device_id[order], rate_plan_ids),
            terms=Terms(period_days, instance.uses_proration),
            days_left=np.full(len(order), remaining),
            usage_before=billed.measured_micro_mb[order],
            sms_before=billed.sms_usage[order],
        )
    return InstanceInputs(
        devices=devices,
        rate_plans=plan_arrays,
        eligibility=eligibility,
        device_ids=billed.device_id[order],
        rate_plan_ids=rate_plan_ids,
        solved_assignment=_index_of(billed.solved_rate_plan_id[order], rate_plan_ids),
        mid_cycle=mid_cycle,
        measured_micro_mb=billed.measured_micro_mb[order],
        history_days=billed.history_days[order],
    )


def _left_plans(rows: LeftPlanRows, device_ids: Integers, rate_plan_ids: Integers) -> LeftPlans:
    return LeftPlans(
        sim=_index_of(rows.device_id, device_ids),
        rate_plan=_index_of(rows.rate_plan_id, rate_plan_ids),
        days=rows.days,
        usage_micro_mb=rows.usage_micro_mb,
        sms_usage=rows.sms_usage,
    )


def _eligibility(
    groups: Sequence[StoredCommGroup],
    rate_plans: Sequence[RatePlan],
    *,
    group: Integers,
    kept_plan: Integers,
    sms_is_read: Integers,
    present_plan: Integers,
    counts: Flags | None,
) -> tuple[Integers, Eligibility]:
    """Return for each SIM the row of the eligibility, and the eligibility: one row for SIMs with the same choice.

    A comm group has one row for its SIMs, one for those whose messages were not read, without the plans that have a
    price for messages, and one for each plan that SIMs keep. All of them share the group's pools. Where some changes do
    not count in this period each of them has a row for each present plan: with the plans to which a change counts.

    Args:
        groups: all comm groups of the instance.
        rate_plans: all rate plans of the instance.
        group: index of the comm group of each SIM, shape (N,).
        kept_plan: index of the plan that each SIM keeps, shape (N,), -1 for a SIM that may be moved.
        sms_is_read: 1 or 0 for each SIM, shape (N,).
        present_plan: index of the present plan of each SIM, shape (N,), -1 for an unknown one.
        counts: which changes count in this period, from the plan of a row to that of a column; None = all.
    """
    kinds, plans = len(rate_plans) + 2, len(rate_plans) + 1
    kind = np.where(kept_plan != NONE, kept_plan + 2, 1 - sms_is_read)
    present = np.where((kept_plan != NONE) | (counts is None), 0, present_plan + 1)
    choices, choice = np.unique((group * kinds + kind) * plans + present, return_inverse=True)
    number, kind, present = choices // plans // kinds, choices // plans % kinds, choices % plans - 1
    keeps = kind >= 2
    ids = np.array([plan.id for plan in rate_plans], dtype=np.int64)
    has_sms_price = np.array([plan.sms_rate > 0 for plan in rate_plans], dtype=np.bool_)
    allowed = np.zeros((len(choices), len(rate_plans)), dtype=np.bool_)
    for row in range(len(choices)):
        if kind[row] >= 2:
            allowed[row, kind[row] - 2] = True
        else:
            allowed[row] = np.isin(ids, groups[number[row]].rate_plan_ids) & ~(has_sms_price & (kind[row] == 1))
            if counts is not None and present[row] != NONE:
                allowed[row] &= counts[present[row]]
                if not allowed[row].any():  # it would have to leave its plan, but not in this period
                    allowed[row, present[row]] = keeps[row] = True
    rows = np.arange(len(choices), dtype=np.int64)
    return choice.reshape(-1), Eligibility(allowed, rows, pool_group=number, keeps_plan=keeps)


def rate_plans_as_arrays(rate_plans: Sequence[RatePlan]) -> RatePlans:
    """Return rate plans as the solver takes them: integers of 1e-6.

    Raises:
        OptimizerInputError: a price is beyond 64 bits.
    """

    def column(name: str) -> Integers:
        return np.array([micro(getattr(plan, name)) for plan in rate_plans], dtype=np.int64)

    pool, pool_name = pools_of(
        [plan.rate_plan_code for plan in rate_plans],
        [plan.allows_sim_pooling for plan in rate_plans],
        [plan.pool for plan in rate_plans],
    )
    return RatePlans(
        code=tuple(plan.rate_plan_code for plan in rate_plans),
        rate_charge=column("rate_charge"),
        base_rate=column("base_rate"),
        plan_micro_mb=column("plan_mb"),
        overage_rate=column("overage_rate"),
        block_micro_mb=column("data_per_overage_charge"),
        sms_rate=column("sms_rate"),
        pool=pool,
        pool_name=pool_name,
        is_retired=np.array([plan.is_retired for plan in rate_plans], dtype=np.bool_),
    )


def write_base_assignment(
    connection: WarehouseConnection, instance_id: int, inputs: InstanceInputs, assignment: Integers
) -> None:
    """Replace the base rate plan of each billed SIM."""
    store.instances.delete_rows(connection, instance_id=instance_id, table="amop.optimization_base_assignment")
    _copy_assignment(connection, COPY_BASE_ASSIGNMENT, instance_id, inputs, assignment)


def write_solved_assignment(
    connection: WarehouseConnection, instance_id: int, inputs: InstanceInputs, assignment: Integers
) -> None:
    """Replace the solved rate plan of each billed SIM."""
    store.instances.delete_rows(connection, instance_id=instance_id, table="amop.optimization_solved_assignment")
    _copy_assignment(connection, COPY_SOLVED_ASSIGNMENT, instance_id, inputs, assignment)


def write_device_forecasts(
    connection: WarehouseConnection, instance_id: int, inputs: InstanceInputs, usage: Integers, stakes: Stakes
) -> None:
    """Replace how uncertain the usage and the plan of each billed SIM are.

    Args:
        connection: the caller's transaction.
        instance_id: the instance.
        inputs: its SIMs.
        usage: quantiles of each SIM's usage, shape (N, 10), 1e-6 MB.
        stakes: what is at stake for each SIM.
    """
    store.instances.delete_rows(connection, instance_id=instance_id, table="amop.optimization_device_forecast")
    instance_ids = np.full(len(stakes.value), instance_id, dtype=np.int64)
    write_numbers(
        connection,
        COPY_DEVICE_FORECASTS,
        instance_ids,
        inputs.device_ids,
        *usage.T,
        stakes.value,
        stakes.regret,
        stakes.saving,
        stakes.certainty,
        stakes.is_doubtful().astype(np.int64),
    )


def _copy_assignment(
    connection: WarehouseConnection, copy: str, instance_id: int, inputs: InstanceInputs, assignment: Integers
) -> None:
    instance_ids = np.full(len(assignment), instance_id, dtype=np.int64)
    write_numbers(connection, copy, instance_ids, inputs.device_ids, inputs.rate_plan_ids[assignment])


def write_device_results(
    connection: WarehouseConnection, instance: Instance, device_ids: Integers, from_costs: Integers, to_costs: Integers
) -> ResultTotals:
    """Replace the result rows and the sums of the comm groups; return the totals.

    Args:
        connection: the caller's transaction.
        instance: the instance.
        device_ids: the billed SIMs.
        from_costs: cost of each SIM on its present rate plan, 1e-6 currency.
        to_costs: cost of each SIM on its solved rate plan, 1e-6 currency.
    """
    instance_id = instance.id
    remaining = days_left(instance.usage_as_of, cycle_end=instance.cycle_end, period_days=1)
    store.results.create_costs(connection)
    write_numbers(connection, COPY_DEVICE_COSTS, device_ids, from_costs, to_costs)
    store.instances.delete_rows(connection, instance_id=instance_id, table="amop.optimization_device_result")
    store.results.add_results(
        connection,
        instance_id=instance_id,
        a_change_counts=effects_of(instance).any_counts(days_left=remaining),
        currency=instance.currency,
        **reasons_of(monthly_change_limits().get(instance.family)),
    )
    store.results.set_group_costs(connection, instance_id=instance_id)
    return store.results.result_totals(connection, instance_id=instance_id)


def _index_of(searched: Integers, ids: Integers) -> Integers:
    """Return the position of each id among ``ids`` (unique, in any order), -1 for an id that is not there."""
    if not len(ids):
        return np.full(len(searched), NONE, dtype=np.int64)
    order = np.argsort(ids)
    position = order[np.minimum(np.searchsorted(ids[order], searched), len(ids) - 1)]
    return np.where(ids[position] == searched, position, NONE)
