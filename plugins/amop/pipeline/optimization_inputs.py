"""The first half of an optimization: comm groups, their checks, and the SIMs with their projected usage.

Which SIMs count: SIMs of groups with outcome ``optimized`` or ``base_only`` are *placed*; they have a result row, and
every total (current, base and total cost, bound, savings) is theirs. SIMs of all other groups (``no_plans``,
``limit_exceeded``) keep their present plan, have no result row, are outside every total and every pool, and are
counted in ``expected_device_count`` only; the instance then carries a warning with both numbers. Every SIM of the
carrier's list that is not placed is in ``amop.optimization_device_left_out``, with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.domain import comm_groups
from amop.domain.billing_period import days_in_period
from amop.domain.comm_groups import INVALID_RATE_PLANS, LIMIT_EXCEEDED, NO_PLANS, NOTHING_TO_OPTIMIZE, PLACED
from amop.domain.left_out import LEFT_OUT_REASONS
from amop.domain.projection import projection_factor
from amop.optimization import CertificateError, OptimizerInputError
from amop.optimization.model import check_rate_plans
from amop.pipeline.errors import PipelineError
from amop.pipeline.optimization_runs import end_with_errors, load_instance, locked_instance
from amop.warehouse import optimization_instances as instances
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.optimization_instances import UsageTooLargeError
from amop.warehouse.sessions import advance_session, touch_session
from amop.warehouse.usage_days import read_history

log = logging.getLogger(__name__)

GROUPED = 30
"""Percent of a session after grouping."""


class ValidationError(PipelineError):
    """A check of comm groups and rate plans says no; the message begins with what AMOP was told and names the plans."""


class OptimizationInputError(PipelineError):
    """The inputs cannot be billed; the message names the SIM or the rate plan."""


class ProofError(PipelineError):
    """The result does not hold what it claims; nothing of it was written."""


def group_communication_plans(conninfo: str, instance_id: int) -> int:
    """Write the comm groups of the provider (AMOP 30 %), once; return how many there are."""
    with transaction(conninfo, application_name="amop group_communication_plans") as connection:
        instance = locked_instance(connection, instance_id)
        if instance["progress"] < GROUPED:
            plans = instances.communication_plans(connection, instance)
            instances.replace_comm_groups(connection, instance_id, comm_groups.group_communication_plans(plans))
            advance_session(connection, instance["session_id"], GROUPED)
        groups = instances.rows(connection, "comm_groups", instance_id=instance_id)
    log.info("%s: %s comm groups", instance["service_provider_name"], len(groups))
    return len(groups)


def validate_groups(conninfo: str, instance_id: int, *, now: datetime) -> dict[str, int]:
    """Decide the outcome of every comm group; return how many groups have which.

    Raises:
        ValidationError: a rate plan cannot be billed, or there is nothing to optimize at all. Instance and session
            have ended with that error then, and AMOP is told its text word for word.
    """
    with transaction(conninfo, application_name="amop validate_groups") as connection:
        instance = locked_instance(connection, instance_id)
        groups = instances.rows(connection, "comm_groups", instance_id=instance_id)
        problem = None
        if instance["inputs_read_at"] is None:
            problem = _validate(connection, instance, groups)
            if problem is not None:
                end_with_errors(connection, instance, problem.text, detail=problem.detail, now=now)
        groups = instances.rows(connection, "comm_groups", instance_id=instance_id)
    if problem is not None:
        raise ValidationError(str(problem))
    outcomes = [group["outcome"] for group in groups]
    return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why an instance cannot be optimized."""

    text: str
    """For AMOP, word for word."""
    detail: str | None = None
    """For the operator besides: which plans."""

    def __str__(self) -> str:
        return self.text if self.detail is None else f"{self.text}: {self.detail}"


def _validate(
    connection: WarehouseConnection, instance: dict[str, Any], groups: list[dict[str, Any]]
) -> _Problem | None:
    """Store the outcome of every group; return what makes the whole instance impossible, None if nothing does."""
    plans = instances.rate_plans_to_check(connection, instance, groups)
    invalid = {
        plan["id"]: (
            f"{plan['rate_plan_code']} (data per overage charge {plan['data_per_overage_charge']}, "
            f"overage rate {plan['overage_rate']})"
        )
        for plan in plans
        if plan["overage_rate"] <= 0 or plan["data_per_overage_charge"] <= 0
    }
    for group in groups:
        outcome = comm_groups.outcome_of(
            group["rate_plan_ids"],
            device_count=group["device_count"],
            rate_plan_limit=instance["rate_plan_limit"],
            invalid_rate_plan_ids=invalid,
        )
        instances.execute(connection, "set_outcome", comm_group_id=group["id"], outcome=outcome)
    whose = instance["service_provider_name"]
    if not any(group["rate_plan_ids"] for group in groups):
        log.error("%s: no communication plan allows a rate plan; complete the reference data", whose)
        return _Problem(NOTHING_TO_OPTIMIZE)
    if invalid:
        named = ", ".join(sorted(invalid.values()))
        log.error("%s: data per overage charge and overage rate must be above 0: %s", whose, named)
        return _Problem(INVALID_RATE_PLANS, named)
    try:
        check_rate_plans(instances.rate_plans_as_arrays(plans))
    except OptimizerInputError as error:
        return _Problem(f"{whose} ({instance['service_provider_id']}): {error}")
    return None


def project_usage(conninfo: str, instance_id: int) -> dict[str, int]:
    """Read the eligible SIMs with their usage projected to the period's end, once; return how many were placed.

    The SIMs that are not placed are listed with the reason in the same transaction.
    """
    with transaction(conninfo, application_name="amop project_usage") as connection:
        instance = locked_instance(connection, instance_id)
        if instance["inputs_read_at"] is None:
            cycle = {"cycle_start": instance["cycle_start"], "cycle_end": instance["cycle_end"]}
            with input_errors(instance):
                instances.add_devices(
                    connection,
                    instance,
                    days_in_period=days_in_period(time_zone=instance["time_zone"], **cycle),
                    factor=projection_factor(instance["usage_as_of"], **cycle),
                    history=read_history(connection, instance),
                )
            instances.add_left_out(connection, instance)
            _note_devices(connection, instance)
            touch_session(connection, instance["session_id"])
            instance = load_instance(connection, instance_id)
        left_out = instances.rows(connection, "left_out_counts", instance_id=instance_id)
    if instance["warning"]:
        log.warning("%s: %s", instance["service_provider_name"], instance["warning"])
    for reason in left_out:
        words = LEFT_OUT_REASONS[reason["reason"]].words
        log.info("%s: %s SIMs left out: %s", instance["service_provider_name"], reason["device_count"], words)
    names = ("device_count", "expected_device_count", "unknown_plan_count", "unknown_activation_count")
    counts = {name: instance[name] for name in names}
    return counts | {"left_out_count": sum(reason["device_count"] for reason in left_out)}


def _note_devices(connection: WarehouseConnection, instance: dict[str, Any]) -> None:
    counted = instances.rows(connection, "comm_groups", instance_id=instance["id"])
    groups = instances.rows(connection, "count_devices", instance_id=instance["id"])
    for group in groups:
        instances.execute(connection, "set_device_count", comm_group_id=group["id"], device_count=group["device_count"])
    left_out = instances.rows(connection, "left_out_counts", instance_id=instance["id"])
    broken = sum(row["device_count"] for row in left_out if row["reason"] == "usage_too_large")
    placed = [group for group in groups if group["outcome"] in PLACED]
    device_count = sum(group["device_count"] for group in placed)
    expected = max(
        sum(group["device_count"] for group in counted), broken + sum(group["device_count"] for group in groups)
    )
    instances.execute(
        connection,
        "note_devices",
        instance_id=instance["id"],
        device_count=device_count,
        expected_device_count=expected,
        unknown_plan_count=sum(group["unknown_plan_count"] for group in placed),
        unknown_activation_count=sum(group["unknown_activation_count"] for group in placed),
        warning=_placement_warning(device_count, expected, groups, instance["rate_plan_limit"], broken),
    )


def _placement_warning(
    device_count: int, expected: int, groups: list[dict[str, Any]], rate_plan_limit: int | None, broken: int
) -> str | None:
    if expected == 0:
        return "No SIM of this provider is active, has usage or was activated in this billing period"
    if device_count >= expected:
        return None
    reasons = []
    for outcome, reason in (
        (NO_PLANS, "are on communication plans without rate plans"),
        (LIMIT_EXCEEDED, f"are in comm groups with more than {rate_plan_limit} rate plans"),
    ):
        left_out = [group for group in groups if group["outcome"] == outcome and group["device_count"]]
        if left_out:
            names = sorted(name or "(none)" for group in left_out for name in group["communication_plans"])
            listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            reasons.append(f"{sum(group['device_count'] for group in left_out)} {reason} ({listed})")
    if broken:
        reasons.append(f"{broken} have used more than a SIM can ({LEFT_OUT_REASONS['usage_too_large'].remedy})")
    return f"Only {device_count} of {expected} expected SIMs were placed" + (
        f": {'; '.join(reasons)}. They keep their present plans and are outside of every total" if reasons else ""
    )


@contextmanager
def input_errors(instance: dict[str, Any]) -> Iterator[None]:
    """Turn the errors of arrays and proofs into final errors that say whose inputs they are.

    Raises:
        OptimizationInputError: an input cannot be billed.
        ProofError: a result does not verify.
    """
    whose = f"{instance['service_provider_name']} ({instance['service_provider_id']}), instance {instance['id']}"
    try:
        yield
    except UsageTooLargeError as error:
        raise OptimizationInputError(str(error)) from error
    except OptimizerInputError as error:
        raise OptimizationInputError(f"{whose}: {error}") from error
    except CertificateError as error:
        raise ProofError(f"{whose}: {error}; nothing was written") from error
