"""The first half of an optimization: comm groups, their validation, and the SIMs with their projected usage.

SIMs of groups with outcome ``optimized`` or ``base_only`` are *placed*: they may be moved. Others are *kept* on their
present plan: SIMs of all other groups (``no_plans``, ``limit_exceeded``), SIMs that were retired within the period, and
SIMs whose messages were not read where every plan has a price for them. The carrier bills a kept SIM like any other,
and it uses its pool: if its present plan is known, it has a result row and is in every total (current, base and total
cost, bound) and in its pool. ``device_count`` counts placed SIMs only; the instance carries a warning where that is
less than ``expected_device_count``. Every SIM of the carrier's list that is not placed is in
``amop.optimization_device_excluded``, with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection, transaction
from amop.optimization import comm_groups, store
from amop.optimization.arrays import rate_plans_as_arrays
from amop.optimization.comm_groups import INVALID_RATE_PLANS, LIMIT_EXCEEDED, NO_PLANS, NOTHING_TO_OPTIMIZE
from amop.optimization.errors import input_errors
from amop.optimization.exclusions import EXCLUSION_REASONS, USAGE_TOO_LARGE
from amop.optimization.forecast import LARGEST_SMS_USAGE, LARGEST_USAGE_MB
from amop.optimization.instances import end_with_errors, load_instance, lock_instance
from amop.optimization.known_changes import known_change_notes
from amop.optimization.projection import add_devices, add_left_plans, read_history
from amop.optimization.rows import CommGroupCounts, Instance, RatePlan, StoredCommGroup
from amop.runs.errors import PipelineError
from amop.runs.sessions import advance_session, touch_session
from amop.solver import OptimizerInputError
from amop.solver.model import check_rate_plans
from amop.wording import money, several

log = logging.getLogger(__name__)

INPUTS_READ = 30
"""Percent of a session whose comm groups are validated and whose SIMs are read."""

NAMES_SHOWN = 10
"""Communication plans that a warning names for one reason."""


class ValidationError(PipelineError):
    """Comm groups or rate plans are invalid; the message begins with the ErrorMessage to AMOP and names the plans."""


def group_communication_plans(conninfo: str, instance_id: int) -> int:
    """Write the comm groups of the provider, once; return their number."""
    with transaction(conninfo, application_name="amop group_communication_plans") as connection:
        instance = lock_instance(connection, instance_id)
        if not store.comm_groups.comm_groups(connection, instance_id=instance_id):
            _write_comm_groups(connection, instance)
            touch_session(connection, instance.session_id)
        groups = store.comm_groups.comm_groups(connection, instance_id=instance_id)
    log.info("%s: %s comm groups", instance.service_provider_name, len(groups))
    return len(groups)


def _write_comm_groups(connection: WarehouseConnection, instance: Instance) -> None:
    plans = store.comm_groups.communication_plans(
        connection,
        service_provider_id=instance.service_provider_id,
        billing_period_id=instance.billing_period_id,
        usage_as_of=instance.usage_as_of,
    )
    store.instances.delete_rows(connection, instance_id=instance.id, table="amop.optimization_comm_group")
    with connection.pipeline():
        for group in comm_groups.group_communication_plans(plans):
            store.comm_groups.add_comm_group(
                connection,
                instance_id=instance.id,
                group_key=group.group_key,
                rate_plan_ids=group.rate_plan_ids,
                communication_plans=group.communication_plans,
                device_count=group.device_count,
            )


def validate_groups(conninfo: str, instance_id: int, *, now: datetime) -> dict[str, int]:
    """Decide the outcome of every comm group; return the number of groups by outcome.

    Raises:
        ValidationError: a rate plan cannot be billed, or no communication plan allows a rate plan. Instance and session
            have then ended with that error, and AMOP gets its text word for word.
    """
    with transaction(conninfo, application_name="amop validate_groups") as connection:
        instance = lock_instance(connection, instance_id)
        problem = None
        if instance.inputs_read_at is None:
            groups = store.comm_groups.comm_groups(connection, instance_id=instance_id)
            problem = _validate(connection, instance, groups)
            if problem is not None:
                end_with_errors(connection, instance, problem.text, detail=problem.detail, now=now)
        groups = store.comm_groups.comm_groups(connection, instance_id=instance_id)
    if problem is not None:
        raise ValidationError(str(problem))
    outcomes = [str(group.outcome) for group in groups]
    return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}


@dataclass(frozen=True, slots=True)
class _Problem:
    """The reason why an instance cannot be optimized."""

    text: str
    """For AMOP, word for word."""
    detail: str | None = None
    """For the operator in addition: the rate plans."""

    def __str__(self) -> str:
        return self.text if self.detail is None else f"{self.text}: {self.detail}"


def _validate(
    connection: WarehouseConnection, instance: Instance, groups: Sequence[StoredCommGroup]
) -> _Problem | None:
    """Store the outcome of every group; return the problem of the whole instance, None if there is none."""
    plans = _rate_plans_to_check(connection, instance, groups)
    invalid = {
        plan.id: (
            f"{plan.rate_plan_code} (data per overage charge {plan.data_per_overage_charge}, "
            f"overage rate {plan.overage_rate})"
        )
        for plan in plans
        if not _has_valid_price(plan)
    }
    for group in groups:
        outcome = comm_groups.outcome_of(
            group.rate_plan_ids,
            device_count=group.device_count,
            rate_plan_limit=instance.rate_plan_limit,
            invalid_rate_plan_ids=invalid,
        )
        store.comm_groups.set_outcome(connection, comm_group_id=group.id, outcome=outcome)
    provider = instance.service_provider_name
    if not any(group.rate_plan_ids for group in groups):
        log.error("%s: no communication plan allows a rate plan; complete the reference data", provider)
        return _Problem(NOTHING_TO_OPTIMIZE)
    if invalid:
        named = ", ".join(sorted(invalid.values()))
        log.error("%s: data per overage charge and overage rate must be above 0: %s", provider, named)
        return _Problem(INVALID_RATE_PLANS, named)
    try:
        check_rate_plans(rate_plans_as_arrays(plans))
    except OptimizerInputError as error:
        return _Problem(f"{provider} ({instance.service_provider_id}): {error}")
    return None


def _rate_plans_to_check(
    connection: WarehouseConnection, instance: Instance, groups: Sequence[StoredCommGroup]
) -> list[RatePlan]:
    """Return the rate plans that the groups allow, and those that SIMs are on; not those that no placed SIM may have
    and that have no valid price: their SIMs are not billed."""
    allowed = {rate_plan_id for group in groups for rate_plan_id in group.rate_plan_ids}
    present = {
        has_plans: store.comm_groups.present_rate_plans(
            connection,
            service_provider_id=instance.service_provider_id,
            billing_period_id=instance.billing_period_id,
            usage_as_of=instance.usage_as_of,
            communication_plans=[
                name for group in groups if bool(group.rate_plan_ids) == has_plans for name in group.communication_plans
            ],
        )
        for has_plans in (True, False)
    }
    plans = store.comm_groups.rate_plans(connection, rate_plan_ids=sorted(allowed.union(present[True], present[False])))
    needed = allowed.union(present[True])
    return [plan for plan in plans if plan.id in needed or _has_valid_price(plan)]


def _has_valid_price(plan: RatePlan) -> bool:
    return plan.overage_rate > 0 and plan.data_per_overage_charge > 0


def project_usage(conninfo: str, instance_id: int) -> dict[str, int]:
    """Read the eligible SIMs with their usage projected to the period's end, once (AMOP 30 %); return the counts.

    The SIMs that are not placed are written with the reason in the same transaction.
    """
    with transaction(conninfo, application_name="amop project_usage") as connection:
        instance = lock_instance(connection, instance_id)
        if instance.inputs_read_at is None:
            with input_errors(instance):
                add_devices(connection, instance, read_history(connection, instance))
            _write_exclusions(connection, instance)
            add_left_plans(connection, instance)
            _store_device_counts(connection, instance)
            advance_session(connection, instance.session_id, INPUTS_READ)
            instance = load_instance(connection, instance_id)
        exclusions = store.sims.exclusion_counts(connection, instance_id=instance_id)
    if instance.warning:
        log.warning("%s: %s", instance.service_provider_name, instance.warning)
    for note in known_change_notes(instance.applied_plan_count, instance.change_in_doubt_count):
        log.info("%s: %s", instance.service_provider_name, note)
    for exclusion in exclusions:
        words = EXCLUSION_REASONS[exclusion.reason].words
        log.info("%s: %s SIMs excluded: %s", instance.service_provider_name, exclusion.device_count, words)
    return {
        "device_count": instance.device_count,
        "expected_device_count": instance.expected_device_count,
        "unknown_plan_count": instance.unknown_plan_count,
        "unknown_activation_count": instance.unknown_activation_count,
        "excluded_device_count": sum(exclusion.device_count for exclusion in exclusions),
    }


def _write_exclusions(connection: WarehouseConnection, instance: Instance) -> None:
    """Write the SIMs that are not placed, with the reason; a SIM with a broken counter is removed from the inputs."""
    store.sims.exclude_too_large_usage(connection, instance_id=instance.id, largest_usage_mb=LARGEST_USAGE_MB)
    store.sims.add_exclusions(
        connection,
        instance_id=instance.id,
        service_provider_id=instance.service_provider_id,
        billing_period_id=instance.billing_period_id,
        usage_as_of=instance.usage_as_of,
        largest_usage_mb=LARGEST_USAGE_MB,
        largest_sms_usage=LARGEST_SMS_USAGE,
    )


def _store_device_counts(connection: WarehouseConnection, instance: Instance) -> None:
    grouped = store.comm_groups.comm_groups(connection, instance_id=instance.id)
    groups = store.sims.count_devices(connection, instance_id=instance.id)
    for group in groups:
        store.sims.set_group_device_count(connection, comm_group_id=group.id, device_count=group.device_count)
    exclusions = store.sims.exclusion_counts(connection, instance_id=instance.id)
    broken = sum(each.device_count for each in exclusions if each.reason == USAGE_TOO_LARGE)
    device_count = sum(group.placed_count for group in groups)
    expected = max(sum(group.device_count for group in grouped), broken + sum(group.device_count for group in groups))
    sms_unread_count = sum(group.sms_unread_count for group in groups)
    warnings = [_placement_warning(device_count, expected, groups, instance.rate_plan_limit, broken)]
    charges = sum((group.unknown_activation_charge for group in groups), Decimal(0))
    unknown_cost = charges if instance.uses_proration else Decimal(0)
    if unknown_cost:
        warnings.append(
            "SIMs whose activation date is unknown are billed for the whole period: up to "
            f"{money(unknown_cost, instance.currency)} of the present cost is not due if they were activated within it"
        )
    if sms_unread_count:
        warnings.append(
            f"The messages of {several(sms_unread_count, 'SIM')} were not read: no plan with a price for messages was "
            f"offered to {'it' if sms_unread_count == 1 else 'them'}"
        )
    store.sims.set_device_counts(
        connection,
        instance_id=instance.id,
        device_count=device_count,
        expected_device_count=expected,
        kept_device_count=sum(group.kept_count for group in groups),
        sms_unread_count=sms_unread_count,
        unknown_plan_count=sum(group.unknown_plan_count for group in groups),
        unknown_activation_count=sum(group.unknown_activation_count for group in groups),
        unknown_activation_cost=unknown_cost,
        applied_plan_count=sum(group.applied_plan_count for group in groups),
        change_in_doubt_count=sum(group.change_in_doubt_count for group in groups),
        warning="\n".join(filter(None, warnings)) or None,
    )


def _placement_warning(
    device_count: int, expected: int, groups: Sequence[CommGroupCounts], rate_plan_limit: int | None, broken: int
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
        excluded = [group for group in groups if group.outcome == outcome and group.device_count]
        if excluded:
            names = sorted(name or "(none)" for group in excluded for name in group.communication_plans)
            listed = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
            reasons.append(f"{sum(group.device_count for group in excluded)} {reason} ({listed})")
    if sms := sum(group.sms_kept_count for group in groups):
        reasons.append(f"{sms} are on plans with a price for messages, which were not read")
    if broken:
        reasons.append(f"{broken} have used more than a SIM can ({EXCLUSION_REASONS[USAGE_TOO_LARGE].remedy})")
    return f"Only {device_count} of {expected} expected SIMs were placed" + (
        f": {'; '.join(reasons)}. They keep their present plans, and are billed on them if plan and usage are known"
        if reasons
        else ""
    )
