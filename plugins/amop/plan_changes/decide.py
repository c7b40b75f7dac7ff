"""Decide on an instance's proposed plan changes: proposed only, no go, approval requested, or approved.

Every function is one transaction that may be repeated. Superseded changes are never applied: a completed instance
supersedes the open changes of older ones of its provider, and each step checks for a newer instance first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection, transaction
from amop.families import monthly_change_limits
from amop.plan_changes import store
from amop.plan_changes.approval_request import ApprovalRequest, approval_body, approval_subject
from amop.plan_changes.pace import measured_rate
from amop.plan_changes.rules import (
    ChangesStatus,
    Decision,
    latest_start,
    reason_to_request_approval,
    reason_with_waiting,
    refusal_by_settings,
    refusal_by_time,
    superseded_text,
    time_needed,
    waiting_words,
)
from amop.plan_changes.store.decisions import SYSTEM_ACTOR, InstanceChanges, TimingFacts, load_instance_changes
from amop.plan_changes.timing import LATEST_SESSIONS, DoubtfulChanges, LaterRun, last_fitting_run
from amop.runs.errors import PipelineError
from amop.runs.sessions import lock_session
from amop.runs.store.sync_runs import warnings_of_instance
from amop.wording import capped

log = logging.getLogger(__name__)

UNDECIDED = {None, ChangesStatus.PROPOSED_ONLY, ChangesStatus.WAITING}
"""Statuses in which planning again may lead to another decision: no change was approved or rejected yet."""

CallRate = Callable[[str, str, str], float]
"""Calls a second of the account of a connection id, a provider's name and its integration; called only if writes are
allowed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an approval request."""

    is_approval: bool
    by: str | None
    """The user who answered; None if the request was withdrawn or its time is over."""
    comment: str = ""


def plan_changes(
    conninfo: str,
    instance_id: int,
    *,
    call_rate: CallRate,
    planned_by: str,
    can_wait: bool = True,
    now: datetime,
) -> ChangesStatus:
    """Supersede older proposals of the provider, then decide on this instance's and store decision and reason.

    Doubtful changes may wait for a later instance (`amop.plan_changes.timing`); the decision is on the others, but both
    count for the limits above which an approval is requested.

    Args:
        conninfo: the warehouse.
        instance_id: a completed instance.
        call_rate: the call rate of the provider's account.
        planned_by: ``<dag id>/<run id>``, so that the approval request can be found in Airflow.
        can_wait: False if no answer is possible (``airflow dags test``): what needs approval is then only proposed.
        now: the present time, aware.

    Raises:
        PipelineError: the instance is not complete.
    """
    with transaction(conninfo, application_name="amop plan_changes") as connection:
        changes = _lock_changes(connection, instance_id)
        if changes.run_status != "complete_with_success":
            raise PipelineError(f"instance {instance_id} is {changes.run_status}: only a complete one is applied")
        _supersede_older(connection, changes, now)
        if changes.changes_status not in UNDECIDED:
            return ChangesStatus(changes.changes_status or "")
        pace = _Pace(connection, call_rate, now)
        changes = _let_doubtful_wait(connection, changes, pace)
        warnings = warnings_of_instance(connection, instance_id=instance_id)
        decision = _decide(changes, len(warnings), pace, can_wait)
        deadline = None
        if decision.status in {ChangesStatus.WAITING, ChangesStatus.APPROVED, ChangesStatus.NO_GO}:
            deadline = latest_start(changes.cycle_end, changes.change_count, pace.of(changes))
        _store(connection, changes, decision, SYSTEM_ACTOR, now, deadline=deadline, planned_by=planned_by)
    return decision.status


def approval_request(conninfo: str, instance_id: int, *, call_rate: CallRate, now: datetime) -> ApprovalRequest:
    """Return the approval request for the changes of a waiting instance."""
    with transaction(conninfo, application_name="amop approval_request") as connection:
        changes = load_instance_changes(connection, instance_id)
        moves = store.decisions.moves(connection, instance_id=instance_id)
        warnings = warnings_of_instance(connection, instance_id=instance_id)
        needed = time_needed(changes.change_count, _Pace(connection, call_rate, now).of(changes))
    return ApprovalRequest(approval_subject(changes), approval_body(changes, moves, warnings, needed=needed))


def load_changes(conninfo: str, instance_id: int) -> InstanceChanges:
    """Return what decides on the changes of an instance.

    Raises:
        PipelineError: there is no such instance.
    """
    with transaction(conninfo, application_name="amop load_changes") as connection:
        return load_instance_changes(connection, instance_id)


def settle_approval(
    conninfo: str, instance_id: int, answer: Answer, *, call_rate: CallRate, now: datetime
) -> ChangesStatus:
    """Store the answer, or that there was none; changes that may no longer be applied are refused in spite of it."""
    with transaction(conninfo, application_name="amop settle_approval") as connection:
        changes = _lock_changes(connection, instance_id)
        if changes.changes_status != ChangesStatus.WAITING:
            log.info(
                "%s: the answer is too late, plan changes of instance %s are %s: %s",
                changes.service_provider_name,
                instance_id,
                changes.changes_status,
                changes.changes_reason,
            )
            return ChangesStatus(changes.changes_status or "")
        decision = _settled(changes, answer, _Pace(connection, call_rate, now))
        _store(connection, changes, decision, answer.by or SYSTEM_ACTOR, now)
    return decision.status


@dataclass(frozen=True, slots=True)
class _Pace:
    """The pace at which changes are applied, and the present time that it is used at."""

    connection: WarehouseConnection
    call_rate: CallRate
    now: datetime

    def of(self, changes: InstanceChanges) -> float:
        """Return the measured calls a second of the provider, at most what its account allows."""
        allowed = self.call_rate(changes.connection_id, changes.service_provider_name, changes.integration)
        return measured_rate(self.connection, changes.service_provider_id, allowed, now=self.now)


def _let_doubtful_wait(connection: WarehouseConnection, changes: InstanceChanges, pace: _Pace) -> InstanceChanges:
    """Mark the changes that wait for a later instance; return the changes with their counts.

    Where nothing may be sent by the settings, nothing waits: a later instance would not send it either.
    """
    facts = store.decisions.timing_facts(connection, instance_id=changes.instance_id, sessions=LATEST_SESSIONS)
    if facts is None or not facts.doubtful_count:
        return changes
    later = None
    if _refusal_by_settings(changes) is None:
        later = last_fitting_run(
            facts,
            now=pace.now,
            cycle_end=changes.cycle_end,
            time_zone=changes.time_zone,
            calls_per_second=pace.of(changes),
            may_need_approval=(changes.approval_above_changes, changes.approval_above_amount) != (None, None),
        )
    decided = _set_waiting(connection, changes, facts, later, pace.now)
    if decided.waiting_count and decided.savings < 0:
        # Such as where a doubtful change brings the allowance that a certain one uses: only together do they save.
        return _set_waiting(connection, changes, facts, None, pace.now)
    return decided


def _set_waiting(
    connection: WarehouseConnection,
    changes: InstanceChanges,
    facts: TimingFacts,
    later: LaterRun | None,
    now: datetime,
) -> InstanceChanges:
    """Mark the doubtful changes that wait for a later run, none without one; return the changes with their counts."""
    store.decisions.set_waiting(
        connection,
        instance_id=changes.instance_id,
        reason=None if later is None else later.reason,
        only_limited=facts.doubtful_changes == DoubtfulChanges.WAIT_IF_LIMITED,
        last_decision_at=None if later is None else later.decides_at,
        now=now,
        monthly_limits=Jsonb(monthly_change_limits()),
    )
    return load_instance_changes(connection, changes.instance_id)


def _decide(changes: InstanceChanges, warnings: int, pace: _Pace, can_wait: bool) -> Decision:
    """Return the decision on the changes that do not wait, with the number of those that do."""
    decision = _decide_on_others(changes, warnings, pace, can_wait)
    if not changes.waiting_count or decision.status == ChangesStatus.SUPERSEDED:
        return decision
    waiting = waiting_words(changes.waiting_count, changes.waits_reason or "")
    if not changes.change_count:
        return Decision(ChangesStatus.PROPOSED_ONLY, "", waiting)
    return replace(decision, waiting=waiting)


def _decide_on_others(changes: InstanceChanges, warnings: int, pace: _Pace, can_wait: bool) -> Decision:
    if not changes.change_count:
        if changes.upgrade_effect == changes.downgrade_effect == "next_cycle":
            return Decision(ChangesStatus.NOTHING_TO_CHANGE, "plan changes count from the next billing period only")
        note = capped(changes.change_cap, changes.uncapped_changes, changes.uncapped_saving, changes.currency)
        cause = "" if note is None else f"; they are {note}"
        return Decision(ChangesStatus.NOTHING_TO_CHANGE, f"no plan changes that save enough were found{cause}")
    refused = _refused(changes, pace)
    if refused is not None:
        return refused
    exceeded = reason_to_request_approval(
        warnings=warnings,
        changes=changes.change_count,
        waiting_changes=changes.waiting_count,
        amount=changes.amount,
        waiting_amount=changes.waiting_amount,
        approval_above_changes=changes.approval_above_changes,
        approval_above_amount=changes.approval_above_amount,
        currency=changes.currency,
    )
    if exceeded is None:
        return Decision(ChangesStatus.APPROVED, "within the provider's limits: no approval needed")
    if not can_wait:
        return Decision(ChangesStatus.PROPOSED_ONLY, f"{exceeded}, and a test of the DAG cannot wait for approval")
    return Decision(ChangesStatus.WAITING, exceeded)


def _refused(changes: InstanceChanges, pace: _Pace) -> Decision | None:
    """Return the decision not to send anything now, None if the changes may be sent."""
    if changes.newer_instance_id is not None:
        return Decision(ChangesStatus.SUPERSEDED, superseded_text(changes.newer_instance_id))
    settings = _refusal_by_settings(changes)
    if settings is not None:
        return Decision(ChangesStatus.PROPOSED_ONLY, f"only proposed: {settings}")
    time = refusal_by_time(
        cycle_end=changes.cycle_end,
        changes=changes.change_count,
        calls_per_second=pace.of(changes),
        now=pace.now,
    )
    return None if time is None else Decision(ChangesStatus.NO_GO, time)


def _refusal_by_settings(changes: InstanceChanges) -> str | None:
    return refusal_by_settings(
        apply_changes=changes.apply_changes,
        is_active=changes.is_active,
        write_is_enabled=changes.write_is_enabled,
        can_auto_update_rate_plans=changes.can_auto_update_rate_plans,
    )


def _settled(changes: InstanceChanges, answer: Answer, pace: _Pace) -> Decision:
    comment = f": {answer.comment}" if answer.comment else ""
    if answer.by is not None and not answer.is_approval:
        return Decision(ChangesStatus.REJECTED, f"rejected by {answer.by}{comment}")
    refused = _refused(changes, pace)
    if answer.by is None:
        if refused is not None and refused.status == ChangesStatus.SUPERSEDED:
            return refused
        return Decision(
            ChangesStatus.NO_GO,
            f"no go: no answer by {pace.now:%Y-%m-%d %H:%M} UTC, and too little time is left in the billing period",
        )
    if refused is not None:
        return Decision(refused.status, f"approved by {answer.by}, but {refused.reason}")
    waiting = waiting_words(changes.waiting_count, changes.waits_reason or "") if changes.waiting_count else ""
    return Decision(ChangesStatus.APPROVED, f"approved by {answer.by}{comment}", waiting)


def _store(
    connection: WarehouseConnection,
    changes: InstanceChanges,
    decision: Decision,
    decided_by: str,
    now: datetime,
    *,
    deadline: datetime | None = None,
    planned_by: str | None = None,
) -> None:
    """Store a decision with the instance and with its changes."""
    instance_id = changes.instance_id
    store.decisions.set_status(
        connection,
        instance_id=instance_id,
        status=decision.status,
        decision=decision.reason,
        reason=decision.sentence,
        decided_by=decided_by,
        deadline=deadline,
        planned_by=planned_by,
        now=now,
    )
    if decision.status == ChangesStatus.APPROVED:
        store.decisions.approve(connection, instance_id=instance_id, decided_by=decided_by, now=now)
    elif decision.status in {ChangesStatus.NO_GO, ChangesStatus.REJECTED, ChangesStatus.SUPERSEDED}:
        store.decisions.reject(
            connection, instance_id=instance_id, reason=decision.reason, decided_by=decided_by, now=now
        )
    log.info(
        "%s: %s plan changes of instance %s are %s: %s",
        changes.service_provider_name,
        changes.change_count,
        instance_id,
        decision.status,
        decision.sentence,
    )


def _supersede_older(connection: WarehouseConnection, changes: InstanceChanges, now: datetime) -> None:
    """Reject the open changes of older instances: they were computed from outdated inputs."""
    reason = superseded_text(changes.instance_id)
    for older in store.decisions.superseded_instances(connection, instance_id=changes.instance_id):
        if older.changes_status != ChangesStatus.APPLIED:
            store.decisions.set_status(
                connection,
                instance_id=older.id,
                status=ChangesStatus.SUPERSEDED,
                decision=reason,
                reason=reason,
                decided_by=SYSTEM_ACTOR,
                now=now,
            )
        count = store.decisions.reject(
            connection, instance_id=older.id, reason=reason, decided_by=SYSTEM_ACTOR, now=now
        )
        if older.changes_status == ChangesStatus.APPLIED:  # only the changes that waited were open
            ended = reason_with_waiting(older.changes_status, older.decision, waiting_words(count, f"was {reason}"))
            store.decisions.set_ended(connection, instance_id=older.id, status=older.changes_status, reason=ended)
        log.info("%s: %s plan changes of instance %s are %s", changes.service_provider_name, count, older.id, reason)


def _lock_changes(connection: WarehouseConnection, instance_id: int) -> InstanceChanges:
    """Return the changes and lock the instance's session until the transaction ends: one writer at a time."""
    lock_session(connection, load_instance_changes(connection, instance_id).session_id)
    return load_instance_changes(connection, instance_id)
