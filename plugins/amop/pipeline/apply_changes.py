"""Approved plan changes at the carrier: check, write, note; one SIM after another, and a sample read back.

Killed at any instant and run again, it goes on where it stopped. What is needed for that stands in each change's row:
``sent_at`` is committed before the write request goes out, so that a row that is approved and sent is *in doubt*: the
carrier is asked for the SIM's plan before anything else happens to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg

from amop.carriers.errors import CarrierRequestError
from amop.carriers.protocol import CarrierClient
from amop.domain.plan_changes import (
    VERIFICATION_SAMPLE,
    ChangesStatus,
    judge_present_plan,
    refusal_by_settings,
    refusal_by_time,
)
from amop.pipeline.errors import PipelineError
from amop.warehouse import plan_changes as changes
from amop.warehouse.connection import WarehouseConnection, connect, transaction
from amop.warehouse.plan_changes import US

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

BATCH_SIZE = 50
"""Changes between two looks at settings, time left and newer instances; at most 20 s at 5 calls a second."""

MAXIMUM_FAILURES_IN_A_ROW = 10
"""So many refusals one after another are no matter of single SIMs."""

NOT_FOUND = 404
APPLYING = {ChangesStatus.APPROVED, ChangesStatus.STOPPED}
REFUSED = {ChangesStatus.NO_GO, ChangesStatus.REJECTED, ChangesStatus.SUPERSEDED}


class ChangesStoppedError(PipelineError):
    """Applying was stopped before all changes were sent; what is left stays approved and goes on when run again."""


class ChangesBusyError(RuntimeError):
    """Another process applies changes of the same provider; trying again later is all there is to do."""


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


def apply_changes(
    conninfo: str, instance_id: int, client: CarrierClient, *, calls_per_second: float, clock: Clock = utc_now
) -> dict[str, int]:
    """Apply the approved changes of an instance; return how many are in which state.

    Args:
        conninfo: the warehouse.
        instance_id: whose changes; nothing is sent unless they are approved.
        client: of the provider's account, allowed to write.
        calls_per_second: the account's pace, for go / no go by the time that is left.
        clock: the present time, aware.

    Raises:
        ChangesStoppedError: too many refusals in a row, or writes were switched off meanwhile.
        ChangesBusyError: another process applies changes of this provider.
        CarrierError: 401, or the carrier was not reachable within the retry budget.
    """
    with connect(conninfo, application_name="amop apply_changes", autocommit=True) as connection:
        facts = _facts(connection, instance_id)
        _hold_provider(connection, facts)
        _settle_doubts(connection, instance_id, client, clock)
        failures_in_a_row = 0
        while batch := _next_batch(connection, instance_id, calls_per_second, clock()):
            for change in batch:
                state, error = _apply(connection, change, client, clock)
                failures_in_a_row = failures_in_a_row + 1 if state == "failed" else 0
                if failures_in_a_row >= MAXIMUM_FAILURES_IN_A_ROW:
                    raise ChangesStoppedError(
                        f"{facts['service_provider_name']} ({facts['service_provider_id']}): {failures_in_a_row} "
                        f"changes were refused one after another, the last one with: {error}. Mend the cause and clear "
                        "the task: it goes on with the changes that are still approved"
                    )
        return _finish(connection, instance_id, clock())


def stop_changes(conninfo: str, instance_id: int, reason: str, *, now: datetime) -> None:
    """Note that applying was given up for now; changes that were not sent stay approved."""
    with transaction(conninfo, application_name="amop stop_changes") as connection:
        if _facts(connection, instance_id)["changes_status"] in APPLYING:
            changes.set_status(connection, instance_id, ChangesStatus.STOPPED, reason, now=now)


def verify_changes(conninfo: str, instance_id: int, client: CarrierClient, *, clock: Clock = utc_now) -> dict[str, int]:
    """Read a sample of the applied changes back; a SIM on another plan than the target becomes a conflict.

    Returns:
        ``verified``, the SIMs read now, and ``different``, those that are not as they must be.
    """
    verified = different = 0
    with connect(conninfo, application_name="amop verify_changes", autocommit=True) as connection:
        facts = _facts(connection, instance_id)
        if facts["newer_instance_id"] is not None:
            log.info("Instance %s may have changed these SIMs again: nothing to verify", facts["newer_instance_id"])
            return {"verified": 0, "different": 0}
        sample = changes.sample(connection, instance_id, VERIFICATION_SAMPLE)
        for change in sample:
            try:
                shown = client.device_details(change["iccid"]).get("ratePlan") or None
            except CarrierRequestError as error:
                log.warning("SIM %s could not be read back: %s", change["iccid"], error)
                continue
            verified += 1
            is_kept = shown == change["to_rate_plan"]
            problem = None if is_kept else f"was applied, but the carrier shows rate plan {shown!r} afterwards"
            changes.set_verified(connection, change["id"], shown, problem, now=clock())
            if problem is not None:
                different += 1
                log.error("%s: SIM %s %s", facts["service_provider_name"], change["iccid"], problem)
    log.info("%s: %s SIMs read back, %s differ", facts["service_provider_name"], verified, different)
    return {"verified": verified, "different": different}


def _facts(connection: WarehouseConnection, instance_id: int) -> dict[str, Any]:
    facts = changes.facts(connection, instance_id)
    if facts is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    return facts


def _hold_provider(connection: WarehouseConnection, facts: dict[str, Any]) -> None:
    try:
        changes.lock_provider(connection, facts["service_provider_id"])
    except psycopg.errors.LockNotAvailable:
        raise ChangesBusyError(
            f"{facts['service_provider_name']} ({facts['service_provider_id']}): another task applies plan changes of "
            "this provider; trying again"
        ) from None


def _settle_doubts(connection: WarehouseConnection, instance_id: int, client: CarrierClient, clock: Clock) -> None:
    """Ask the carrier about changes whose write request went out and whose answer was never noted."""
    while doubts := changes.next_batch(connection, instance_id, in_doubt=True, batch_size=BATCH_SIZE):
        for change in doubts:
            try:
                details = client.device_details(change["iccid"])
            except CarrierRequestError as error:
                _write_refusal(connection, change, error, clock())
                continue
            if details.get("ratePlan") == change["to_rate_plan"]:
                changes.set_outcome(connection, change["id"], "applied", None, now=clock())
            else:
                changes.mark_not_sent(connection, change["id"])


def _next_batch(
    connection: WarehouseConnection, instance_id: int, calls_per_second: float, now: datetime
) -> list[dict[str, Any]]:
    """Return what may be sent next: nothing where the rest is stale, forbidden or too late."""
    facts = _facts(connection, instance_id)
    if facts["changes_status"] in REFUSED:  # what was in doubt then and turned out not to be sent
        changes.reject(connection, instance_id, facts["changes_reason"], decided_by=US, now=now)
    if facts["changes_status"] not in APPLYING:
        return []
    left = changes.count_states(connection, instance_id).get("approved", 0)
    if facts["newer_instance_id"] is not None:
        reason = f"superseded by instance {facts['newer_instance_id']} of the same provider"
        _give_up(connection, facts, ChangesStatus.SUPERSEDED, reason, now)
        return []
    forbidden = refusal_by_settings(
        apply_changes=facts["apply_changes"],
        write_is_enabled=facts["write_is_enabled"],
        can_auto_update_rate_plans=facts["can_auto_update_rate_plans"],
    )
    if forbidden is not None and left:
        raise ChangesStoppedError(
            f"{facts['service_provider_name']}: {forbidden}; {left} approved changes were not sent"
        )
    too_late = refusal_by_time(cycle_end=facts["cycle_end"], changes=left, calls_per_second=calls_per_second, now=now)
    if too_late is not None and left:
        _give_up(connection, facts, ChangesStatus.NO_GO, too_late, now)
        return []
    return changes.next_batch(connection, instance_id, in_doubt=False, batch_size=BATCH_SIZE)


def _give_up(
    connection: WarehouseConnection, facts: dict[str, Any], status: ChangesStatus, reason: str, now: datetime
) -> None:
    """Reject what was not sent yet."""
    with connection.transaction():
        applied = changes.count_states(connection, facts["instance_id"]).get("applied", 0)
        text = f"{reason}; {applied} were applied before" if applied else reason
        rejected = changes.reject(connection, facts["instance_id"], reason, decided_by=US, now=now)
        changes.set_status(connection, facts["instance_id"], status, text, now=now)
    log.warning("%s: %s plan changes were not sent: %s", facts["service_provider_name"], rejected, reason)


def _apply(
    connection: WarehouseConnection, change: dict[str, Any], client: CarrierClient, clock: Clock
) -> tuple[str, str | None]:
    """Check and change one SIM; return its state (``approved`` where it was taken back meanwhile) and why."""
    try:
        is_done, conflict = judge_present_plan(
            client.device_details(change["iccid"]),
            iccid=change["iccid"],
            from_rate_plan=change["from_rate_plan"],
            to_rate_plan=change["to_rate_plan"],
        )
        if not is_done and conflict is None:
            if not changes.mark_sent(connection, change["id"], clock()):
                return "approved", None
            client.change_rate_plan(change["iccid"], change["to_rate_plan"])
    except CarrierRequestError as error:
        return _write_refusal(connection, change, error, clock())
    state = "applied" if conflict is None else "conflict"
    changes.set_outcome(connection, change["id"], state, conflict, now=clock())
    return state, conflict


def _write_refusal(
    connection: WarehouseConnection, change: dict[str, Any], error: CarrierRequestError, now: datetime
) -> tuple[str, str]:
    """Note a final refusal of the carrier: a SIM that is gone is a conflict, anything else a failure."""
    is_gone = error.status == NOT_FOUND
    state, text = ("conflict", f"the SIM is no longer at the carrier: {error}") if is_gone else ("failed", str(error))
    changes.set_outcome(connection, change["id"], state, text, now=now)
    log.warning("SIM %s: %s", change["iccid"], text)
    return state, text


def _finish(connection: WarehouseConnection, instance_id: int, now: datetime) -> dict[str, int]:
    """Write the end where everything was handled; return the counts."""
    counts = changes.count_states(connection, instance_id)
    facts = _facts(connection, instance_id)
    if facts["changes_status"] in APPLYING and not counts.get("approved"):
        text = ", ".join(f"{count} {state}" for state, count in counts.items())
        changes.set_status(connection, instance_id, ChangesStatus.APPLIED, text, now=now)
    log.info("%s: plan changes of instance %s: %s", facts["service_provider_name"], instance_id, counts)
    return counts
