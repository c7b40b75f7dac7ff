"""What becomes of an instance's proposed plan changes: only proposed, no go, a person is asked, or approved.

Every function is one transaction that may be run again. Stale changes are never applied: a completed instance
supersedes the open changes of older ones of its provider, and each step looks for a newer instance first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.domain.approval_request import approval_body, approval_subject
from amop.domain.plan_changes import (
    ChangesStatus,
    Decision,
    latest_start,
    reason_to_ask,
    refusal_by_settings,
    refusal_by_time,
    time_needed,
)
from amop.pipeline.errors import PipelineError
from amop.warehouse import plan_changes as changes
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.plan_changes import US

log = logging.getLogger(__name__)

UNDECIDED = {None, ChangesStatus.PROPOSED_ONLY, ChangesStatus.WAITING}
"""Statuses in which planning again may come to another decision: nothing was approved or rejected yet."""

CallRate = Callable[[str, str], float]
"""Calls a second of the account behind a connection id and a provider's name; asked only where writes are allowed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the approval: a person's choice, or nobody's."""

    is_approval: bool
    by: str | None
    """Who answered; None = nobody did: the request was taken back, or its time is over."""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person is asked."""

    subject: str
    body: str


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

    Args:
        conninfo: the warehouse.
        instance_id: a completed instance.
        call_rate: the pace of the provider's account.
        planned_by: ``<dag id>/<run id>``, so that the question can be found in Airflow.
        can_wait: False where nobody could answer (``airflow dags test``): what needs an answer is only proposed.
        now: the present time, aware.

    Raises:
        PipelineError: the instance is not complete.
    """
    with transaction(conninfo, application_name="amop plan_changes") as connection:
        facts = _locked_facts(connection, instance_id)
        if facts["run_status"] != "complete_with_success":
            raise PipelineError(f"instance {instance_id} is {facts['run_status']}: only a complete one is applied")
        _supersede_older(connection, facts, now)
        if facts["changes_status"] not in UNDECIDED:
            return ChangesStatus(facts["changes_status"])
        decision = _decide(facts, call_rate, can_wait, now)
        deadline = None
        if decision.status in {ChangesStatus.WAITING, ChangesStatus.APPROVED, ChangesStatus.NO_GO}:
            rate = call_rate(facts["connection_id"], facts["service_provider_name"])
            deadline = latest_start(facts["cycle_end"], facts["changes"], rate)
        _store(connection, facts, decision, US, now, deadline=deadline, planned_by=planned_by)
    return decision.status


def approval_request(conninfo: str, instance_id: int, *, call_rate: CallRate) -> ApprovalRequest:
    """Return what a person is asked about the changes of a waiting instance."""
    with transaction(conninfo, application_name="amop approval_request") as connection:
        facts = _facts(connection, instance_id)
        moves = changes.moves(connection, instance_id)
    rate = call_rate(facts["connection_id"], facts["service_provider_name"])
    body = approval_body(facts, moves, needed=time_needed(facts["changes"], rate), why=facts["changes_reason"])
    return ApprovalRequest(approval_subject(facts), body)


def load_facts(conninfo: str, instance_id: int) -> dict[str, Any]:
    """Return what decides on the changes of an instance: a row of ``changes/facts``.

    Raises:
        PipelineError: there is no such instance.
    """
    with transaction(conninfo, application_name="amop load_facts") as connection:
        return _facts(connection, instance_id)


def settle_approval(
    conninfo: str, instance_id: int, answer: Answer, *, call_rate: CallRate, now: datetime
) -> ChangesStatus:
    """Write a person's answer, or that there was none; what may no longer be applied is not, whatever was answered."""
    with transaction(conninfo, application_name="amop settle_approval") as connection:
        facts = _locked_facts(connection, instance_id)
        if facts["changes_status"] != ChangesStatus.WAITING:
            log.info(
                "%s: the answer comes too late, plan changes of instance %s are %s: %s",
                facts["service_provider_name"], instance_id, facts["changes_status"], facts["changes_reason"],
            )  # fmt: skip
            return ChangesStatus(facts["changes_status"])
        decision = _settled(facts, answer, call_rate, now)
        _store(connection, facts, decision, answer.by or US, now)
    return decision.status


def _decide(facts: dict[str, Any], call_rate: CallRate, can_wait: bool, now: datetime) -> Decision:
    if not facts["changes"]:
        return Decision(ChangesStatus.NOTHING_TO_CHANGE, "every SIM is on its cheapest rate plan")
    refused = _refused(facts, call_rate, now)
    if refused is not None:
        return refused
    question = reason_to_ask(
        changes=facts["changes"],
        amount=facts["amount"],
        approval_above_changes=facts["approval_above_changes"],
        approval_above_amount=facts["approval_above_amount"],
    )
    if question is None:
        return Decision(ChangesStatus.APPROVED, "within the limits of the provider: nobody is asked")
    if not can_wait:
        return Decision(ChangesStatus.PROPOSED_ONLY, f"{question}, and nobody can answer in a test of the DAG")
    return Decision(ChangesStatus.WAITING, question)


def _refused(facts: dict[str, Any], call_rate: CallRate, now: datetime) -> Decision | None:
    """Return why nothing may be sent now, None where it may."""
    if facts["newer_instance_id"] is not None:
        return Decision(ChangesStatus.SUPERSEDED, _superseded_text(facts["newer_instance_id"]))
    settings = refusal_by_settings(
        apply_changes=facts["apply_changes"],
        write_is_enabled=facts["write_is_enabled"],
        can_auto_update_rate_plans=facts["can_auto_update_rate_plans"],
    )
    if settings is not None:
        return Decision(ChangesStatus.PROPOSED_ONLY, f"only proposed: {settings}")
    time = refusal_by_time(
        cycle_end=facts["cycle_end"],
        changes=facts["changes"],
        calls_per_second=call_rate(facts["connection_id"], facts["service_provider_name"]),
        now=now,
    )
    return None if time is None else Decision(ChangesStatus.NO_GO, time)


def _settled(facts: dict[str, Any], answer: Answer, call_rate: CallRate, now: datetime) -> Decision:
    said = f": {answer.comment}" if answer.comment else ""
    if answer.by is not None and not answer.is_approval:
        return Decision(ChangesStatus.REJECTED, f"rejected by {answer.by}{said}")
    refused = _refused(facts, call_rate, now)
    if answer.by is None:
        if refused is not None and refused.status == ChangesStatus.SUPERSEDED:
            return refused
        return Decision(
            ChangesStatus.NO_GO,
            f"no go: nobody had answered by {now:%Y-%m-%d %H:%M} UTC, and too little time is left in the period",
        )
    if refused is not None:
        return Decision(refused.status, f"approved by {answer.by}, but {refused.reason}")
    return Decision(ChangesStatus.APPROVED, f"approved by {answer.by}{said}")


def _store(
    connection: WarehouseConnection,
    facts: dict[str, Any],
    decision: Decision,
    decided_by: str,
    now: datetime,
    **more: Any,
) -> None:
    """Write a decision to the instance and to its changes."""
    instance_id = facts["instance_id"]
    changes.set_status(
        connection, instance_id, decision.status, decision.reason, decided_by=decided_by, now=now, **more
    )
    if decision.status == ChangesStatus.APPROVED:
        changes.approve(connection, instance_id, decided_by=decided_by, now=now)
    elif decision.status in {ChangesStatus.NO_GO, ChangesStatus.REJECTED, ChangesStatus.SUPERSEDED}:
        changes.reject(connection, instance_id, decision.reason, decided_by=decided_by, now=now)
    log.info(
        "%s: %s plan changes of instance %s are %s: %s",
        facts["service_provider_name"], facts["changes"], instance_id, decision.status, decision.reason,
    )  # fmt: skip


def _supersede_older(connection: WarehouseConnection, facts: dict[str, Any], now: datetime) -> None:
    """Reject the open changes of older instances: they were computed from what is no longer true."""
    reason = _superseded_text(facts["instance_id"])
    for older_id in changes.superseded_instances(connection, facts["instance_id"]):
        changes.set_status(connection, older_id, ChangesStatus.SUPERSEDED, reason, decided_by=US, now=now)
        count = changes.reject(connection, older_id, reason, decided_by=US, now=now)
        log.info("%s: %s plan changes of instance %s are %s", facts["service_provider_name"], count, older_id, reason)


def _superseded_text(newer_instance_id: int) -> str:
    return f"superseded by instance {newer_instance_id} of the same provider"


def _locked_facts(connection: WarehouseConnection, instance_id: int) -> dict[str, Any]:
    """Return the facts and hold the instance's session until the transaction ends: one writer at a time."""
    session_id = _facts(connection, instance_id)["session_id"]
    connection.execute(sql.load("sessions/lock_session"), {"session_id": session_id})
    return _facts(connection, instance_id)


def _facts(connection: WarehouseConnection, instance_id: int) -> dict[str, Any]:
    facts = changes.facts(connection, instance_id)
    if facts is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    return facts
