"""Inputs of a measurement as arrays: prices as solved, real usage, and the assignment with the applied changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psycopg

from amop.database.connection import WarehouseConnection
from amop.optimization.arrays import InstanceInputs, rate_plans_as_arrays, read_inputs
from amop.optimization.errors import OptimizationInputError
from amop.optimization.rows import Instance
from amop.reference.billing_period import days_in_period
from amop.savings import store
from amop.savings.store import AppliedChanges
from amop.solver import Terms
from amop.solver.mid_cycle import mid_cycle_of
from amop.solver.model import NONE, Flags, Integers


def inputs_as_solved(connection: WarehouseConnection, instance: Instance) -> InstanceInputs:
    """Return the billed SIMs of an instance, with its rate plans at the prices that it was solved with.

    Rate plans are those of its two bills; an assignment to any other one is -1.
    """
    inputs = read_inputs(connection, instance)
    mid_cycle = inputs.mid_cycle
    rate_plans = store.rate_plans_as_solved(
        connection, instance_id=instance.id, service_provider_id=instance.service_provider_id
    )
    known = {rate_plan_id: number for number, rate_plan_id in enumerate(inputs.rate_plan_ids.tolist())}
    old_numbers = [known[plan.id] for plan in rate_plans]
    new_numbers = np.full(len(known) + 1, NONE, dtype=np.int64)  # index -1, the last one, is that of NONE
    new_numbers[old_numbers] = np.arange(len(rate_plans))
    return replace(
        inputs,
        devices=replace(inputs.devices, current_rate_plan=new_numbers[inputs.devices.current_rate_plan]),
        rate_plans=rate_plans_as_arrays(rate_plans),
        eligibility=replace(inputs.eligibility, allowed=inputs.eligibility.allowed[:, old_numbers]),
        rate_plan_ids=inputs.rate_plan_ids[old_numbers],
        solved_assignment=new_numbers[inputs.solved_assignment],
        mid_cycle=mid_cycle
        and replace(mid_cycle, left=replace(mid_cycle.left, rate_plan=new_numbers[mid_cycle.left.rate_plan])),
    )


def with_real_usage(connection: WarehouseConnection, instance: Instance, inputs: InstanceInputs) -> InstanceInputs:
    """Return the inputs with the real usage of the instance's period in place of the projected one.

    Raises:
        OptimizationInputError: the usage of a SIM is beyond 64 bits.
    """
    try:
        with connection.transaction():
            usage = store.real_usage(
                connection,
                instance_id=instance.id,
                billing_period_id=instance.billing_period_id,
            )
    except psycopg.errors.NumericValueOutOfRange:
        raise OptimizationInputError(
            f"{instance.label}: the usage of a SIM in the closed period is beyond any bill"
        ) from None
    order = np.argsort(usage.device_id)
    if not np.array_equal(usage.device_id[order], inputs.device_ids):  # both are the billed SIMs, by id
        raise RuntimeError(f"instance {instance.id}: its SIMs changed while they were read")
    real = replace(inputs.devices, usage_micro_mb=usage.usage_micro_mb[order], sms_usage=usage.sms_usage[order])
    return replace(inputs, devices=real)


def applied_changes(connection: WarehouseConnection, instance: Instance) -> AppliedChanges:
    """Return the changes of an instance that were applied within its period."""
    return store.applied_changes(
        connection,
        instance_id=instance.id,
        service_provider_id=instance.service_provider_id,
        billing_period_id=instance.billing_period_id,
        cycle_start=instance.cycle_start,
        cycle_end=instance.cycle_end,
        time_zone=instance.time_zone,
        days_in_period=days_in_period(instance.cycle_start, instance.cycle_end, instance.time_zone),
    )


def applied_assignment(inputs: InstanceInputs, old: Integers, changes: AppliedChanges, counts: Flags) -> Integers:
    """Return the old assignment with the applied changes that count in the period, shape (N,).

    Args:
        inputs: the SIMs.
        old: the old assignment, shape (N,).
        changes: the applied changes.
        counts: which changes count in the period, from the plan of a row to that of a column, shape (P, P).
    """
    index = {rate_plan_id: number for number, rate_plan_id in enumerate(inputs.rate_plan_ids.tolist())}
    applied = old.copy()
    rows = np.searchsorted(inputs.device_ids, changes.device_id)
    plans = np.array([index[rate_plan_id] for rate_plan_id in changes.rate_plan_id.tolist()], dtype=np.int64)
    present = inputs.devices.current_rate_plan[rows]
    is_counted = (present == NONE) | counts[np.maximum(present, 0), plans]
    applied[rows[is_counted]] = plans[is_counted]
    return applied


def with_days_of_changes(inputs: InstanceInputs, changes: AppliedChanges, terms: Terms) -> InstanceInputs:
    """Return the inputs with the days and the usage before each applied change, where changes count from their day."""
    if inputs.mid_cycle is None:
        return inputs
    rows = np.searchsorted(inputs.device_ids, changes.device_id)
    days_left, usage_before, sms_before = (np.zeros(len(inputs.device_ids), dtype=np.int64) for _ in range(3))
    days_left[rows], usage_before[rows], sms_before[rows] = (
        changes.days_left,
        changes.usage_before,
        changes.sms_before,
    )
    return replace(
        inputs,
        mid_cycle=mid_cycle_of(
            inputs.devices,
            inputs.mid_cycle.left.within(inputs.devices),
            terms=terms,
            days_left=days_left,
            usage_before=usage_before,
            sms_before=sms_before,
        ),
    )
