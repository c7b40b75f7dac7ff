"""Measure realised savings: the bill of a closed billing period, with and without the applied plan changes.

For every completed instance that forecast the end of a now closed period, the whole fleet of the instance is billed
twice with the *real* usage of the period: on the plans that its SIMs had when it was optimized, and on the same plans
with the changes that the carrier applied within the period. The difference is the realised saving; pools span the fleet
as they do on the bill. Prices and terms are those that the instance was solved with, even if the reference data has
changed since. Where a plan change counts from its day, each plan is billed for its days, by the day on which the change
was applied; a change that counts from the next period saves nothing in this one. Each row also has the saving that
these changes were forecast to bring, and the error of the projection:

* of the fleet, (projected - real) / real, the bias of the projection;
* of the SIMs, the weighted absolute percentage error, Σ |projected - real| / Σ real. A mean of percentages is undefined
  for SIMs without usage, and gives a SIM of a kilobyte more weight than a router.

Where scenarios chose the plans, the bill of the solved plans with the real usage is compared with the interval that was
stated for it. A provider whose bills are often outside falls back to the point forecast
(`amop.optimization.expected_bill`).

Real usage is what the syncs of the period read. Usage between the last of them (`usage_read_at`) and the end of the
period is in no counter of the next cycle and is excluded. It is small, because syncs are frequent on the last day.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal

import numpy as np
from psycopg import IsolationLevel

from amop.database.connection import WarehouseConnection, connect, transaction
from amop.optimization.arrays import InstanceInputs
from amop.optimization.change_effects import ChangeEffects
from amop.optimization.errors import input_errors
from amop.optimization.instances import load_instance
from amop.optimization.rows import Instance
from amop.optimization.solve import fleet_as_chosen, terms_of
from amop.optimization.store.instances import usage_read_at
from amop.runs.errors import PipelineError
from amop.savings import store
from amop.savings.inputs import (
    applied_assignment,
    applied_changes,
    inputs_as_solved,
    with_days_of_changes,
    with_real_usage,
)
from amop.solver import CostModel, Terms
from amop.solver.bill import exact_sum
from amop.solver.model import NONE, Integers, from_micro

log = logging.getLogger(__name__)


class MeasurementError(PipelineError):
    """Some closed instances cannot be billed; the message names each with the reason. The others were measured."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figures of one instance; money in the currency, usage in MB."""

    usage_read_at: datetime | None
    applied_changes: int
    forecast_saving: Decimal
    old_plans_cost: Decimal
    applied_plans_cost: Decimal
    solved_plans_cost: Decimal | None
    """Bill of the solved plans with the real usage; None where no interval of it was stated."""
    is_within_interval: bool | None
    projected_usage_mb: Decimal
    real_usage_mb: Decimal
    absolute_error_mb: Decimal


def providers_to_measure(conninfo: str, *, now: datetime) -> list[dict[str, int | str]]:
    """Return ``service_provider_id`` and ``service_provider_name`` of the providers with instances to measure."""
    with transaction(conninfo, application_name="amop find_closed_periods") as connection:
        closed = store.instances_to_measure(connection, now=now)
    names = {instance.service_provider_id: instance.service_provider_name for instance in closed}
    return [{"service_provider_id": key, "service_provider_name": name} for key, name in names.items()]


def measure_provider(conninfo: str, service_provider_id: int, *, now: datetime) -> dict[str, int]:
    """Measure every closed instance of a provider that is not measured yet; return the number of rows written.

    Raises:
        MeasurementError: some of them cannot be billed.
    """
    with transaction(conninfo, application_name="amop measure_savings") as connection:
        closed = store.instances_to_measure(connection, service_provider_id=service_provider_id, now=now)
    measured, problems = 0, []
    for instance in closed:
        try:
            measured += measure_instance(conninfo, instance.id, now=now)
        except PipelineError as error:
            log.error("%s", error)
            problems.append(str(error))
    if problems:
        raise MeasurementError(f"{len(problems)} of {len(closed)} instances were not measured: {'; '.join(problems)}")
    return {"measured": measured}


def measure_instance(conninfo: str, instance_id: int, *, now: datetime) -> bool:
    """Write the realised saving of one instance and the error of its projection, once; return True if it was written.

    Raises:
        PipelineError: its SIMs cannot be billed, for instance because a usage is beyond any bill.
    """
    with connect(conninfo, application_name="amop measure_savings") as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        instance = load_instance(connection, instance_id)
        with input_errors(instance):
            figures = _measure(connection, instance)
        rows = store.add_realised_saving(connection, instance_id=instance_id, now=now, **asdict(figures))
    if rows:
        log.info(
            "%s: instance %s, %s changes applied, saving %s realised and %s forecast; usage %s MB projected, %s real",
            instance.service_provider_name,
            instance_id,
            figures.applied_changes,
            figures.old_plans_cost - figures.applied_plans_cost,
            figures.forecast_saving,
            figures.projected_usage_mb,
            figures.real_usage_mb,
        )
    return rows == 1


def _measure(connection: WarehouseConnection, instance: Instance) -> Measurement:
    terms, effects = _terms(instance), _effects(instance)
    inputs = inputs_as_solved(
        connection,
        replace(
            instance,
            uses_proration=terms.uses_proration,
            upgrade_effect=effects.upgrade,
            downgrade_effect=effects.downgrade,
        ),
    )
    changes = applied_changes(connection, instance)
    real = with_days_of_changes(with_real_usage(connection, instance, inputs), changes, terms)
    current = inputs.devices.current_rate_plan
    old = np.where(current == NONE, _base_assignment(inputs, terms), current)  # the forecast bills unknown plans so
    applied = applied_assignment(inputs, old, changes, effects.counting(inputs.rate_plans, days_left=1))
    forecast_old, forecast_applied = _bills(inputs, terms, old, applied)
    if from_micro(forecast_old) != instance.current_cost:
        raise PipelineError(
            f"{instance.label}: its present plans cost {from_micro(forecast_old)} at its own prices and projections, "
            f"but {instance.current_cost} is stored; nothing was written. Report it with the instance's id"
        )
    old_cost, applied_cost = _bills(real, terms, old, applied)
    solved_cost = _solved_cost(instance, real, terms, old)
    projected_usage, real_usage = inputs.devices.usage_micro_mb, real.devices.usage_micro_mb
    return Measurement(
        usage_read_at=usage_read_at(
            connection,
            service_provider_id=instance.service_provider_id,
            billing_period_id=instance.billing_period_id,
        ),
        applied_changes=len(changes.device_id),
        forecast_saving=from_micro(forecast_old - forecast_applied),
        old_plans_cost=from_micro(old_cost),
        applied_plans_cost=from_micro(applied_cost),
        solved_plans_cost=solved_cost,
        is_within_interval=_is_within(instance, solved_cost),
        projected_usage_mb=_sum(projected_usage),
        real_usage_mb=_sum(real_usage),
        absolute_error_mb=_sum(np.abs(projected_usage - real_usage)),
    )


def _bills(inputs: InstanceInputs, terms: Terms, old: Integers, applied: Integers) -> tuple[int, int]:
    """Return the bills of two assignments, 1e-6 currency."""
    if not len(inputs.devices):
        return 0, 0
    return _bill(inputs, terms, old), _bill(inputs, terms, applied)


def _solved_cost(instance: Instance, real: InstanceInputs, terms: Terms, old: Integers) -> Decimal | None:
    """Return the bill of the solved plans with the real usage, None where no interval of it was stated."""
    if instance.cost_5_percent is None or not len(real.devices):
        return None
    solved = np.where(real.solved_assignment == NONE, old, real.solved_assignment)
    return from_micro(_bill(real, terms, solved))


def _is_within(instance: Instance, cost: Decimal | None) -> bool | None:
    if cost is None or instance.cost_5_percent is None or instance.cost_95_percent is None:
        return None
    return instance.cost_5_percent <= cost <= instance.cost_95_percent


def _bill(inputs: InstanceInputs, terms: Terms, assignment: Integers) -> int:
    fleet = fleet_as_chosen(inputs, terms, assignment)
    return fleet.model(inputs.rate_plans, terms).bill(fleet.of_rows(assignment))


def _base_assignment(inputs: InstanceInputs, terms: Terms) -> Integers:
    if not len(inputs.devices):
        return inputs.devices.current_rate_plan
    return CostModel(inputs.devices, inputs.rate_plans, inputs.eligibility, terms).base_assignment()


def _terms(instance: Instance) -> Terms:
    """Return the terms that the instance was solved with."""
    solved_with = (instance.certificate or {}).get("terms")
    return Terms(**solved_with) if solved_with else terms_of(instance)


def _effects(instance: Instance) -> ChangeEffects:
    """Return when plan changes counted as the instance was solved."""
    return ChangeEffects(**(instance.certificate or {}).get("change_effects", {}))


def _sum(micro_mb: Integers) -> Decimal:
    return from_micro(exact_sum(micro_mb) if len(micro_mb) else 0)
