"""Optimization instances in the warehouse: comm groups, inputs as arrays, assignments and results, all set-based."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.types.json import Jsonb

from amop.domain.assignment_reasons import ASSIGNMENT_REASONS
from amop.domain.comm_groups import PLACED, CommGroup, CommunicationPlan
from amop.domain.projection import LARGEST_SMS_USAGE, LARGEST_USAGE_MB, UNPROJECTED_STATUSES, ProjectionFactor
from amop.domain.usage_history import UsageHistory
from amop.optimization.model import NONE, Devices, Eligibility, Integers, RatePlans, micro, pools_of
from amop.warehouse import sql
from amop.warehouse.columns import read_columns, write_numbers
from amop.warehouse.connection import WarehouseConnection
from amop.warehouse.usage_days import create_usage_history, history_parameters

COPY_BASE = "COPY amop.optimization_base_assignment (instance_id, device_id, rate_plan_id) FROM STDIN (FORMAT binary)"
COPY_SOLVED = (
    "COPY amop.optimization_solved_assignment (instance_id, device_id, rate_plan_id) FROM STDIN (FORMAT binary)"
)
LARGEST = {"largest_usage_mb": LARGEST_USAGE_MB, "largest_sms_usage": LARGEST_SMS_USAGE}
COPY_COSTS = "COPY device_cost (device_id, from_cost, to_cost) FROM STDIN (FORMAT binary)"


class UsageTooLargeError(ArithmeticError):
    """The usage of a SIM is beyond what the warehouse can hold; the message names the SIM."""


@dataclass(frozen=True, slots=True)
class InstanceInputs:
    """The placed SIMs of an instance as the optimizer takes them, and the warehouse's ids of every row."""

    devices: Devices
    rate_plans: RatePlans
    eligibility: Eligibility
    device_ids: Integers
    rate_plan_ids: Integers
    solved_assignment: Integers
    """Index of the rate plan of each SIM, -1 while it is not stored."""


def execute(connection: WarehouseConnection, statement: str, **values: Any) -> int:
    """Run one statement of ``include/sql/optimization``; return the rows that it touched."""
    return connection.execute(sql.load(f"optimization/{statement}"), values).rowcount


def rows(connection: WarehouseConnection, statement: str, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of one statement of ``include/sql/optimization``."""
    return connection.execute(sql.load(f"optimization/{statement}"), values).fetchall()


def row(connection: WarehouseConnection, statement: str, **values: Any) -> dict[str, Any] | None:
    """Return the first row of one statement of ``include/sql/optimization``, None where there is none."""
    return connection.execute(sql.load(f"optimization/{statement}"), values).fetchone()


def open_instance(
    connection: WarehouseConnection, *, session_id: int, usage_as_of: datetime, apply_changes: str, now: datetime
) -> int:
    """Open the instance of a session, or find the one that is open; return its id."""
    opened = row(
        connection,
        "open_instance",
        session_id=session_id,
        usage_as_of=usage_as_of,
        apply_changes=apply_changes,
        now=now,
    )
    if opened is None:  # INSERT … ON CONFLICT DO UPDATE … RETURNING always returns its row
        raise RuntimeError(f"the instance of session {session_id} was not stored")
    return int(opened["id"])


def usage_read_at(
    connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int
) -> datetime | None:
    """Return when the usage of a billing period was last read from the carrier, None where no sync has read any."""
    found = row(
        connection,
        "usage_read_at",
        service_provider_id=service_provider_id,
        billing_period_id=billing_period_id,
    )
    return None if found is None else found["usage_as_of"]


def communication_plans(connection: WarehouseConnection, instance: Mapping[str, Any]) -> list[CommunicationPlan]:
    """Return the provider's communication plans, also those that SIMs are on and nobody mapped."""
    return [
        CommunicationPlan(found["name"], frozenset(found["rate_plan_ids"]), found["device_count"])
        for found in rows(connection, "communication_plans", **_scope(instance))
    ]


def replace_comm_groups(connection: WarehouseConnection, instance_id: int, groups: Sequence[CommGroup]) -> None:
    """Write the comm groups of an instance, in place of what was there."""
    execute(connection, "delete_comm_groups", instance_id=instance_id)
    with connection.cursor() as cursor:
        cursor.executemany(
            sql.load("optimization/add_comm_group"),
            [
                {
                    "instance_id": instance_id,
                    "group_key": group.group_key,
                    "rate_plan_ids": list(group.rate_plan_ids),
                    "communication_plans": list(group.communication_plans),
                    "device_count": group.device_count,
                }
                for group in groups
            ],
        )


def rate_plans_to_check(
    connection: WarehouseConnection, instance: Mapping[str, Any], groups: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return every rate plan that takes part: candidates of the groups, and the present plans of their SIMs."""
    with_plans = [group for group in groups if group["rate_plan_ids"]]
    candidates = {rate_plan_id for group in with_plans for rate_plan_id in group["rate_plan_ids"]}
    present = rows(
        connection,
        "rate_plans_of_fleet",
        communication_plans=[name for group in with_plans for name in group["communication_plans"]],
        **_scope(instance),
    )
    wanted = candidates | {plan["id"] for plan in present}
    return rows(connection, "rate_plans", rate_plan_ids=sorted(wanted))


def add_devices(
    connection: WarehouseConnection,
    instance: Mapping[str, Any],
    *,
    days_in_period: int,
    factor: ProjectionFactor,
    history: UsageHistory | None,
) -> None:
    """Write the inputs of the instance: one row per eligible SIM, with its projected usage.

    Args:
        connection: in whose transaction all of it happens.
        instance: the instance's row.
        days_in_period: local calendar days of its billing period.
        factor: what projects the usage of a SIM without enough history.
        history: the usage days of the provider; None projects every SIM by the factor.

    Raises:
        UsageTooLargeError: the days of a SIM add up beyond 64 bits.
    """
    try:
        with connection.transaction():
            create_usage_history(connection, instance, history)
            execute(
                connection,
                "add_devices",
                instance_id=instance["id"],
                uses_proration=instance["uses_proration"],
                days_in_period=days_in_period,
                numerator=factor.numerator,
                denominator=factor.denominator,
                unprojected_statuses=sorted(UNPROJECTED_STATUSES),
                **LARGEST,
                **history_parameters(history),
                **_scope(instance),
            )
    except psycopg.errors.NumericValueOutOfRange:
        raise _usage_too_large(connection, instance) from None


def add_left_out(connection: WarehouseConnection, instance: Mapping[str, Any]) -> None:
    """Write the SIMs that the instance does not place, each with the reason; after `add_devices`.

    One whose counter is broken is taken out of the inputs: it must not end the optimization of all others.
    """
    largest = LARGEST["largest_usage_mb"]
    execute(connection, "leave_out_too_large", instance_id=instance["id"], largest_usage_mb=largest)
    execute(connection, "add_left_out", instance_id=instance["id"], placed=list(PLACED), **LARGEST, **_scope(instance))


def read_inputs(connection: WarehouseConnection, instance: Mapping[str, Any]) -> InstanceInputs:
    """Return the placed SIMs of an instance as arrays, in the order of their ids.

    Raises:
        UsageTooLargeError: a projection is beyond what 1e-6 MB in 64 bits can hold.
    """
    groups = [
        group for group in rows(connection, "comm_groups", instance_id=instance["id"]) if group["outcome"] in PLACED
    ]
    group_ids = np.array([group["id"] for group in groups], dtype=np.int64)
    device_ids, iccids, group_of, usage, sms_usage, days_activated, is_prorated, current, solved = _placed_devices(
        connection, instance, group_ids.tolist()
    )
    wanted = {rate_plan_id for group in groups for rate_plan_id in group["rate_plan_ids"]}
    wanted |= set(np.unique(current).tolist())
    stored = rows(connection, "rate_plans", rate_plan_ids=sorted(wanted))
    rate_plan_ids = np.array([plan["id"] for plan in stored], dtype=np.int64)
    allowed = np.zeros((len(groups), len(stored)), dtype=np.bool_)
    for number, group in enumerate(groups):
        allowed[number] = np.isin(rate_plan_ids, group["rate_plan_ids"])
    return InstanceInputs(
        devices=Devices(
            device_id=iccids,
            communication_plan=_index_of(group_of, group_ids),
            usage_micro_mb=usage,
            sms_usage=sms_usage,
            days_active=days_activated,
            is_prorated=is_prorated != 0,
            current_rate_plan=_index_of(current, rate_plan_ids),
        ),
        rate_plans=rate_plans_as_arrays(stored),
        eligibility=Eligibility(allowed, np.arange(len(groups), dtype=np.int64)),
        device_ids=device_ids,
        rate_plan_ids=rate_plan_ids,
        solved_assignment=_index_of(solved, rate_plan_ids),
    )


def rate_plans_as_arrays(stored: Sequence[Mapping[str, Any]]) -> RatePlans:
    """Return rows of ``optimization/rate_plans`` as the optimizer takes them: integers of 1e-6.

    Raises:
        OptimizerInputError: a price is beyond 64 bits.
    """

    def column(name: str) -> Integers:
        return np.array([micro(plan[name]) for plan in stored], dtype=np.int64)

    pool, pool_name = pools_of(
        [plan["rate_plan_code"] for plan in stored],
        [plan["allows_sim_pooling"] for plan in stored],
        [plan["pool"] for plan in stored],
    )
    return RatePlans(
        code=tuple(plan["rate_plan_code"] for plan in stored),
        rate_charge=column("rate_charge"),
        base_rate=column("base_rate"),
        plan_micro_mb=column("plan_mb"),
        overage_rate=column("overage_rate"),
        block_micro_mb=column("data_per_overage_charge"),
        sms_rate=column("sms_rate"),
        pool=pool,
        pool_name=pool_name,
        is_retired=np.array([plan["is_retired"] for plan in stored], dtype=np.bool_),
    )


def write_base_assignment(
    connection: WarehouseConnection, instance_id: int, inputs: InstanceInputs, assignment: Integers
) -> None:
    """Write the base rate plan of each placed SIM, in place of what was there."""
    execute(connection, "delete_base_assignment", instance_id=instance_id)
    _copy_assignment(connection, COPY_BASE, instance_id, inputs, assignment)


def write_solved_assignment(
    connection: WarehouseConnection, instance_id: int, inputs: InstanceInputs, assignment: Integers
) -> None:
    """Write the solved rate plan of each placed SIM, in place of what was there."""
    execute(connection, "delete_solved_assignment", instance_id=instance_id)
    _copy_assignment(connection, COPY_SOLVED, instance_id, inputs, assignment)


def _copy_assignment(
    connection: WarehouseConnection, statement: str, instance_id: int, inputs: InstanceInputs, assignment: Integers
) -> None:
    instance = np.full(len(assignment), instance_id, dtype=np.int64)
    write_numbers(connection, statement, instance, inputs.device_ids, inputs.rate_plan_ids[assignment])


def write_results(
    connection: WarehouseConnection,
    instance_id: int,
    device_ids: Integers,
    from_costs: Integers,
    to_costs: Integers,
) -> dict[str, Any]:
    """Write result rows, sums of the groups and proposed changes, in place of what was there; return their totals.

    Args:
        connection: in whose transaction all of it happens.
        instance_id: whose results.
        device_ids: the placed SIMs.
        from_costs: what each costs on its present plan, 1e-6 currency.
        to_costs: what each costs on its solved plan, 1e-6 currency.
    """
    execute(connection, "create_costs")
    write_numbers(connection, COPY_COSTS, device_ids, from_costs, to_costs)
    for statement in (
        "delete_results", "add_results", "delete_changes", "add_changes", "set_group_costs", "delete_rate_plan_results",
        "delete_pool_results",
    ):  # fmt: skip
        execute(connection, statement, instance_id=instance_id, **ASSIGNMENT_REASONS)
    return row(connection, "result_totals", instance_id=instance_id) or {}


def write_bill_items(
    connection: WarehouseConnection,
    instance_id: int,
    assignment: str,
    rate_plans: Sequence[Mapping[str, Any]],
    pools: Sequence[Mapping[str, Any]],
) -> None:
    """Add what rate plans and pools add to the bill of an assignment, ``current`` or ``solved``."""
    whose = {"instance_id": instance_id, "assignment": assignment}
    with connection.cursor() as cursor:
        cursor.executemany(sql.load("optimization/add_rate_plan_result"), [{**whose, **item} for item in rate_plans])
        cursor.executemany(sql.load("optimization/add_pool_result"), [{**whose, **item} for item in pools])


def note_solution(
    connection: WarehouseConnection, instance_id: int, certificate: dict[str, Any], **values: Any
) -> None:
    """Store ``total_cost``, ``lower_bound`` and ``gap`` with the certificate that proves them."""
    execute(connection, "note_solution", instance_id=instance_id, certificate=Jsonb(certificate), **values)


def _placed_devices(
    connection: WarehouseConnection, instance: Mapping[str, Any], group_ids: Sequence[int]
) -> list[npt.NDArray[Any]]:
    """Return the columns of ``optimization/placed_devices``, rows in the order of the device ids."""
    try:
        with connection.transaction():
            columns = read_columns(
                connection,
                sql.load("optimization/placed_devices"),
                {"instance_id": instance["id"], "comm_group_ids": group_ids},
            )
    except psycopg.errors.NumericValueOutOfRange:
        raise _usage_too_large(connection, instance) from None
    order = np.argsort(columns[0])
    return [column[order] for column in columns]


def _index_of(wanted: Integers, ids: Integers) -> Integers:
    """Return the position of each id among ``ids`` (unique, in any order), -1 for an id that is not there."""
    if not len(ids):
        return np.full(len(wanted), NONE, dtype=np.int64)
    order = np.argsort(ids)
    position = order[np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)]
    return np.where(ids[position] == wanted, position, NONE)


def _scope(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "service_provider_id": instance["service_provider_id"],
        "billing_period_id": instance["billing_period_id"],
        "usage_as_of": instance["usage_as_of"],
    }


def _usage_too_large(connection: WarehouseConnection, instance: Mapping[str, Any]) -> UsageTooLargeError:
    largest = row(connection, "largest_usage", **_scope(instance)) or {"iccid": "?", "data_usage": 0}
    return UsageTooLargeError(
        f"{instance['service_provider_name']} ({instance['service_provider_id']}): SIM {largest['iccid']} has used "
        f"{largest['data_usage']} bytes in this billing period, beyond any bill; correct its days in amop.device_usage"
    )
