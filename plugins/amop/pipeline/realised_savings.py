"""Savings kept honest: what a closed billing period really cost, with and without the plan changes that were applied.

For every completed instance that forecast the end of a now closed period the whole fleet of the instance is billed
twice with the *real* usage of the period: on the plans that its SIMs had when it was optimized, and on the same plans
with the changes that the carrier took within the period. The difference is the realised saving; pools span the fleet as
they do on the bill. Prices and terms are those that the instance was solved with, whatever the reference data says now.
Beside it stand what these very changes were forecast to save, and the error of the projection:

* of the fleet, (projected - real) / real: does the projection lean to one side?
* of the SIMs, the weighted absolute percentage error, Σ |projected - real| / Σ real: how far off is it where it counts?
  A mean of percentages is not defined for SIMs that used nothing, and lets a SIM of a kilobyte outweigh a router.

Real usage is what the syncs of the period read. What was used between the last of them (`usage_read_at`) and the end
of the period is in no counter of the next cycle and is left out; on the last day syncs follow one another, so that it
is little.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from amop.domain.billing_period import days_in_period
from amop.optimization import CostModel, Terms
from amop.optimization.bill import exact_sum
from amop.optimization.model import NONE, Integers, from_micro
from amop.pipeline.errors import PipelineError
from amop.pipeline.optimization_inputs import input_errors
from amop.pipeline.optimization_runs import load_instance
from amop.warehouse import optimization_instances as instances
from amop.warehouse import realised_savings
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.optimization_instances import InstanceInputs

log = logging.getLogger(__name__)


class MeasurementError(PipelineError):
    """Some closed instances cannot be billed; the message names each and why. The others were measured."""


def providers_to_measure(conninfo: str, *, now: datetime) -> list[dict[str, Any]]:
    """Return ``service_provider_id`` and ``service_provider_name`` of the providers with something to measure."""
    with transaction(conninfo, application_name="amop find_closed_periods") as connection:
        waiting = realised_savings.instances_to_measure(connection, now=now)
    names = {row["service_provider_id"]: row["service_provider_name"] for row in waiting}
    return [{"service_provider_id": key, "service_provider_name": name} for key, name in names.items()]


def measure_provider(conninfo: str, service_provider_id: int, *, now: datetime) -> dict[str, int]:
    """Measure every closed instance of a provider that was not measured yet; return how many rows were written.

    Raises:
        MeasurementError: some of them cannot be billed.
    """
    with transaction(conninfo, application_name="amop measure_savings") as connection:
        waiting = realised_savings.instances_to_measure(connection, service_provider_id=service_provider_id, now=now)
    measured, problems = 0, []
    for row in waiting:
        try:
            measured += measure_instance(conninfo, row["id"], now=now)
        except PipelineError as error:
            log.error("%s", error)
            problems.append(str(error))
    if problems:
        raise MeasurementError(f"{len(problems)} of {len(waiting)} instances were not measured: {'; '.join(problems)}")
    return {"measured": measured}


def measure_instance(conninfo: str, instance_id: int, *, now: datetime) -> bool:
    """Write the realised saving of one instance and the error of its projection, once; return True if it was written.

    Raises:
        PipelineError: its SIMs cannot be billed, for instance because a usage is beyond any bill.
    """
    with transaction(conninfo, application_name="amop measure_savings") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        instance = load_instance(connection, instance_id)
        with input_errors(instance):
            figures = _measure(connection, instance)
        was_written = realised_savings.add_realised_saving(connection, instance_id=instance_id, now=now, **figures)
    if was_written:
        log.info(
            "%s: instance %s, %s changes applied, saving %s realised and %s forecast; usage %s MB projected, %s real",
            instance["service_provider_name"], instance_id, figures["applied_changes"],
            figures["old_plans_cost"] - figures["applied_plans_cost"], figures["forecast_saving"],
            figures["projected_usage_mb"], figures["real_usage_mb"],
        )  # fmt: skip
    return was_written


def _measure(connection: WarehouseConnection, instance: dict[str, Any]) -> dict[str, Any]:
    inputs = realised_savings.inputs_as_solved(connection, instance)
    usage, sms = realised_savings.real_usage(connection, instance, inputs)
    current = inputs.devices.current_rate_plan
    old = np.where(current == NONE, _base_assignment(instance, inputs), current)  # as the forecast counts unknown plans
    applied, applied_changes = realised_savings.applied_assignment(connection, instance, inputs, old)
    projected = inputs.devices.usage_micro_mb
    forecast_old, forecast_applied = _bills(instance, inputs, old, applied)
    if from_micro(forecast_old) != instance["current_cost"]:
        raise PipelineError(
            f"{instance['service_provider_name']} ({instance['service_provider_id']}), instance {instance['id']}: its "
            f"present plans cost {from_micro(forecast_old)} at its own prices and projections, but "
            f"{instance['current_cost']} is stored; nothing was written. Report it with the instance's id"
        )
    real = replace(inputs, devices=replace(inputs.devices, usage_micro_mb=usage, sms_usage=sms))
    old_cost, applied_cost = _bills(instance, real, old, applied)
    return {
        "usage_read_at": instances.usage_read_at(
            connection,
            service_provider_id=instance["service_provider_id"],
            billing_period_id=instance["billing_period_id"],
        ),
        "applied_changes": applied_changes,
        "forecast_saving": from_micro(forecast_old - forecast_applied),
        "old_plans_cost": from_micro(old_cost),
        "applied_plans_cost": from_micro(applied_cost),
        "projected_usage_mb": _sum(projected),
        "real_usage_mb": _sum(usage),
        "absolute_error_mb": _sum(np.abs(projected - usage)),
    }


def _bills(instance: dict[str, Any], inputs: InstanceInputs, old: Integers, applied: Integers) -> tuple[int, int]:
    """Return the bills of two assignments, 1e-6 currency, on the terms that the instance was solved with."""
    if not len(inputs.devices):
        return 0, 0
    model = CostModel(inputs.devices, inputs.rate_plans, inputs.eligibility, _terms(instance))
    return model.bill(old), model.bill(applied)


def _base_assignment(instance: dict[str, Any], inputs: InstanceInputs) -> Integers:
    if not len(inputs.devices):
        return inputs.devices.current_rate_plan
    return CostModel(inputs.devices, inputs.rate_plans, inputs.eligibility, _terms(instance)).base_assignment()


def _terms(instance: dict[str, Any]) -> Terms:
    solved_with = (instance["certificate"] or {}).get("terms")
    if solved_with:
        return Terms(**solved_with)
    days = days_in_period(instance["cycle_start"], instance["cycle_end"], instance["time_zone"])
    return Terms(days, instance["uses_proration"], instance["prorates_allowance"], instance["pool_scope"])


def _sum(micro_mb: Integers) -> Any:
    return from_micro(exact_sum(micro_mb) if len(micro_mb) else 0)
