"""What a closed billing period showed of its optimizations: real usage, applied changes, realised savings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import psycopg

from amop.domain.comm_groups import PLACED
from amop.optimization.model import NONE, Integers
from amop.warehouse import sql
from amop.warehouse.columns import read_columns
from amop.warehouse.connection import WarehouseConnection
from amop.warehouse.optimization_instances import (
    InstanceInputs,
    rate_plans_as_arrays,
    read_inputs,
)


class UsageTooLargeError(ArithmeticError):
    """What a SIM has used in a closed period is beyond any bill; the message names the instance."""


def instances_to_measure(
    connection: WarehouseConnection, *, service_provider_id: int | None = None, now: datetime
) -> list[dict[str, Any]]:
    """Return ``id``, ``service_provider_id`` and ``service_provider_name`` of closed and unmeasured instances."""
    return connection.execute(
        sql.load("realised/instances_to_measure"), {"service_provider_id": service_provider_id, "now": now}
    ).fetchall()


def inputs_as_solved(connection: WarehouseConnection, instance: Mapping[str, Any]) -> InstanceInputs:
    """Return the placed SIMs of an instance, with its rate plans at the prices that it was solved with.

    Rate plans are those of its two bills; an assignment to any other one is -1.
    """
    inputs = read_inputs(connection, instance)
    stored = connection.execute(
        sql.load("realised/rate_plans"),
        {"instance_id": instance["id"], "service_provider_id": instance["service_provider_id"]},
    ).fetchall()
    known = {rate_plan_id: number for number, rate_plan_id in enumerate(inputs.rate_plan_ids.tolist())}
    old_numbers = [known[plan["id"]] for plan in stored]
    new_numbers = np.full(len(known) + 1, NONE, dtype=np.int64)  # the last place is that of NONE, which is -1
    new_numbers[old_numbers] = np.arange(len(stored))
    return replace(
        inputs,
        devices=replace(inputs.devices, current_rate_plan=new_numbers[inputs.devices.current_rate_plan]),
        rate_plans=rate_plans_as_arrays(stored),
        eligibility=replace(inputs.eligibility, allowed=inputs.eligibility.allowed[:, old_numbers]),
        rate_plan_ids=inputs.rate_plan_ids[old_numbers],
        solved_assignment=new_numbers[inputs.solved_assignment],
    )


def real_usage(
    connection: WarehouseConnection, instance: Mapping[str, Any], inputs: InstanceInputs
) -> tuple[Integers, Integers]:
    """Return what the placed SIMs really used in the instance's period, in their order: 1e-6 MB, and messages.

    Raises:
        UsageTooLargeError: the usage of a SIM is beyond 64 bits.
    """
    try:
        with connection.transaction():
            device_ids, usage, sms_usage = read_columns(
                connection,
                sql.load("realised/real_usage"),
                {
                    "instance_id": instance["id"],
                    "billing_period_id": instance["billing_period_id"],
                    "outcomes": list(PLACED),
                },
            )
    except psycopg.errors.NumericValueOutOfRange:
        raise UsageTooLargeError(
            f"{instance['service_provider_name']} ({instance['service_provider_id']}), instance {instance['id']}: "
            "the usage of a SIM in the closed period is beyond any bill"
        ) from None
    order = np.argsort(device_ids)
    if not np.array_equal(device_ids[order], inputs.device_ids):  # both are the placed SIMs, by id
        raise RuntimeError(f"instance {instance['id']}: its SIMs changed while they were read")
    return usage[order], sms_usage[order]


def applied_assignment(
    connection: WarehouseConnection, instance: Mapping[str, Any], inputs: InstanceInputs, old: Integers
) -> tuple[Integers, int]:
    """Return the old assignment with the changes that were applied within the period, and how many they are."""
    device_ids, rate_plan_ids = read_columns(
        connection,
        sql.load("realised/applied_changes"),
        {
            "instance_id": instance["id"],
            "service_provider_id": instance["service_provider_id"],
            "cycle_start": instance["cycle_start"],
            "cycle_end": instance["cycle_end"],
        },
    )
    index = {rate_plan_id: number for number, rate_plan_id in enumerate(inputs.rate_plan_ids.tolist())}
    applied = old.copy()
    rows = np.searchsorted(inputs.device_ids, device_ids)
    applied[rows] = [index[rate_plan_id] for rate_plan_id in rate_plan_ids.tolist()]
    return applied, len(rows)


def add_realised_saving(connection: WarehouseConnection, **values: Any) -> bool:
    """Write the row of an instance; return False where it was written before, which then stays as it is."""
    return connection.execute(sql.load("realised/add_realised_saving"), values).rowcount == 1
