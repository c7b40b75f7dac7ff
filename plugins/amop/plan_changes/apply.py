"""Apply approved plan changes at the carrier: check, write and record one SIM after another.

Before its change a SIM is read, or the carrier's list of modified SIMs has shown that it was not modified since the
device list that the change is built on (`amop.plan_changes.list_check`).

A process that was killed at any instant continues where it stopped when it is run again. Each change's row has the
state for that: ``sent_at`` is committed before the write request is sent, so that a change that is approved and sent is
*in doubt*; so is one whose answer was unclear. A write request is sent once. A doubt is settled by reading the SIM's
plan, after the longest possible call has passed: the carrier may still be working on the request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from amop import time_limits
from amop.carriers.errors import (
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
    CarrierWriteInDoubtError,
)
from amop.carriers.protocol import CarrierClient
from amop.clock import Clock, utc_now
from amop.database.connection import WarehouseConnection, connect, transaction
from amop.families import monthly_change_limits
from amop.foreign_text import clean_text
from amop.log_lines import figures
from amop.plan_changes import store
from amop.plan_changes.counted_reads import CountedReads
from amop.plan_changes.list_check import ListCheck
from amop.plan_changes.rules import (
    ChangesStatus,
    Decision,
    check_present_plan,
    present_plan,
    refusal_by_limits,
    refusal_by_settings,
    refusal_by_time,
    superseded_text,
    waiting_words,
)
from amop.plan_changes.store.decisions import SYSTEM_ACTOR, InstanceChanges, changes_by_state, load_instance_changes
from amop.plan_changes.store.sending import DoubtfulChange, PlanChange
from amop.runs.errors import PipelineError
from amop.wording import several

log = logging.getLogger(__name__)

BATCH_SIZE = 50
"""Changes between two checks of the time left. The settings and newer instances are checked with every change."""

SETTLE_AFTER = time_limits.LONGEST_HTTP_CALL
"""A doubt is settled this long after it began: a read before that may show the plan before the change."""

MAXIMUM_DOUBTS = 3
"""A change whose write request had this many unclear answers, and that is still not done, has failed."""

MAXIMUM_CONSECUTIVE_FAILURES = 10
"""Stop after this many consecutive refusals: the problem is then not specific to one SIM."""

MAXIMUM_CONSECUTIVE_DOUBTS = 10
"""After this many consecutive unclear answers the doubts are settled before anything more is sent."""

IN_DOUBT = "in_doubt"
WITHDRAWN = "withdrawn"
APPLYING = {ChangesStatus.APPROVED, ChangesStatus.STOPPED}
REFUSED = {ChangesStatus.NO_GO, ChangesStatus.REJECTED, ChangesStatus.SUPERSEDED}


class ChangesStoppedError(PipelineError):
    """Applying was stopped before all changes were sent; the others stay approved, and the next run continues."""


class ChangesBusyError(RuntimeError):
    """Another process applies changes of the same provider; the task is to be retried later."""


def apply_changes(
    conninfo: str,
    instance_id: int,
    client: CarrierClient,
    *,
    calls_per_second: float,
    clock: Clock = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, int]:
    """Apply the approved changes of an instance; return the number of changes by state.

    Args:
        conninfo: the warehouse.
        instance_id: the instance; nothing is sent unless its changes are approved.
        client: client of the provider's account, allowed to write.
        calls_per_second: call rate of the account, to decide whether the time left is enough.
        clock: the present time, aware.
        sleep: waits for a number of seconds, until a doubt may be settled.

    Raises:
        ChangesStoppedError: too many consecutive refusals, or writes were switched off in the meantime.
        ChangesBusyError: another process applies changes of this provider.
        CarrierError: 401, or the carrier was not reachable within the retry budget.
    """
    with connect(conninfo, application_name="amop apply_changes", autocommit=True) as connection:
        changes = load_instance_changes(connection, instance_id)
        _lock_provider(connection, changes)
        reads = CountedReads(client)
        store.sending.find_lost_answers(connection, instance_id=instance_id, now=clock())
        _settle_doubts(connection, instance_id, reads, clock, sleep)
        check = ListCheck(connection, changes, reads, clock)
        failures = 0
        while batch := _next_batch(connection, instance_id, calls_per_second, clock()):
            is_last = len(batch) < BATCH_SIZE
            batch = check.prepare(batch)
            failures = _apply_batch(connection, changes, batch, reads, check, clock, failures)
            reads.record(connection, instance_id)
            if is_last or _doubts(connection, instance_id, MAXIMUM_CONSECUTIVE_DOUBTS):
                _settle_doubts(connection, instance_id, reads, clock, sleep)
        _settle_doubts(connection, instance_id, reads, clock, sleep)
        reads.record(connection, instance_id)
        return _finish(connection, instance_id, clock())


def _doubts(connection: WarehouseConnection, instance_id: int, at_least: int) -> bool:
    """Return True if at least this many changes are in doubt."""
    return len(store.sending.next_doubts(connection, instance_id=instance_id, batch_size=at_least)) >= at_least


def _apply_batch(
    connection: WarehouseConnection,
    changes: InstanceChanges,
    batch: list[PlanChange],
    client: CountedReads,
    check: ListCheck,
    clock: Clock,
    failures: int,
) -> int:
    """Apply one change after another, until one may no longer be sent; return the number of consecutive refusals.

    Raises:
        ChangesStoppedError: too many consecutive refusals, those of earlier batches included.
    """
    doubts = 0
    for number, change in enumerate(batch):
        if number and check.is_over():
            break
        state, error = _apply(connection, change, client, clock, is_checked=check.may_write(change))
        check.count(1)
        failures = failures + 1 if state == "failed" else 0
        doubts = doubts + 1 if state == IN_DOUBT else 0
        if failures >= MAXIMUM_CONSECUTIVE_FAILURES:
            raise ChangesStoppedError(
                f"{changes.service_provider_name} ({changes.service_provider_id}): {failures} consecutive "
                f"changes were refused, the last one with: {error}. The others were not "
                "sent and stay approved"
            )
        if state == WITHDRAWN or doubts >= MAXIMUM_CONSECUTIVE_DOUBTS:
            break
    return failures


def stop_changes(conninfo: str, instance_id: int, reason: str, *, now: datetime | None = None) -> None:
    """Record that applying has stopped; unsent changes stay approved. ``now`` None is the database's clock."""
    with transaction(conninfo, application_name="amop stop_changes") as connection:
        changes = load_instance_changes(connection, instance_id)
        if changes.changes_status in APPLYING:
            _store(connection, changes, ChangesStatus.STOPPED, reason, now)


def _store(
    connection: WarehouseConnection, changes: InstanceChanges, status: ChangesStatus, reason: str, now: datetime | None
) -> None:
    """Store a status with its reason, and what the changes that wait do."""
    waiting = changes_by_state(connection, changes.instance_id).get("waiting", 0)
    decision = Decision(status, reason, waiting_words(waiting, changes.waits_reason or "") if waiting else "")
    store.decisions.set_status(
        connection,
        instance_id=changes.instance_id,
        status=decision.status,
        decision=decision.reason,
        reason=decision.sentence,
        now=now,
    )


def _lock_provider(connection: WarehouseConnection, changes: InstanceChanges) -> None:
    try:
        store.sending.lock_provider(connection, service_provider_id=changes.service_provider_id)
    except psycopg.errors.LockNotAvailable:
        raise ChangesBusyError(
            f"{changes.service_provider_name} ({changes.service_provider_id}): another task applies plan changes of "
            "this provider; retrying"
        ) from None


def _settle_doubts(
    connection: WarehouseConnection,
    instance_id: int,
    client: CountedReads,
    clock: Clock,
    sleep: Callable[[float], None],
) -> None:
    """Ask the carrier for the plans of the SIMs whose changes are in doubt, each when its request must have ended."""
    while doubts := store.sending.next_doubts(connection, instance_id=instance_id, batch_size=BATCH_SIZE):
        for change in doubts:
            # At most the whole time: another worker's clock may be ahead.
            wait = min(change.doubt_since + SETTLE_AFTER - clock(), SETTLE_AFTER)
            if wait > timedelta(0):
                log.info("SIM %s: the outcome is not known; reading its plan in %.0f s", change.iccid, wait.seconds)
                sleep(wait.total_seconds())
            _settle(connection, change, client, clock)


def _settle(connection: WarehouseConnection, change: DoubtfulChange, client: CountedReads, clock: Clock) -> None:
    """Settle one doubt: the change was done, was not sent (it is sent again after the usual check), or has failed."""
    try:
        shown = present_plan(client.device_details(change.iccid))
    except CarrierRequestError as error:
        _record_refusal(connection, change, error, clock())
        return
    if shown == change.to_rate_plan:
        store.sending.set_outcome(connection, change_id=change.id, state="applied", error=None, now=clock())
    elif shown == change.from_rate_plan and (change.is_denied or change.doubt_count >= MAXIMUM_DOUBTS):
        tries = several(change.doubt_count, "write request")
        text = f"the carrier still shows rate plan {shown!r} after {tries}: {change.doubt}"
        log.warning("SIM %s: %s", change.iccid, text)
        store.sending.set_outcome(connection, change_id=change.id, state="failed", error=text, now=clock())
    else:  # the check before the next write finds a change that another party has made
        store.sending.set_not_sent(connection, change_id=change.id)


def _next_batch(
    connection: WarehouseConnection, instance_id: int, calls_per_second: float, now: datetime
) -> list[PlanChange]:
    """Return the changes to send next: none if the others are superseded, forbidden or too late."""
    changes = load_instance_changes(connection, instance_id)
    if changes.changes_status in REFUSED:  # changes that were in doubt at that time and turned out not to be sent
        reason = changes.changes_reason or ""
        store.decisions.reject(connection, instance_id=instance_id, reason=reason, decided_by=SYSTEM_ACTOR, now=now)
    if changes.changes_status not in APPLYING:
        return []
    left = changes_by_state(connection, instance_id).get("approved", 0)
    if changes.newer_instance_id is not None:
        reason = superseded_text(changes.newer_instance_id)
        _reject_unsent(connection, changes, ChangesStatus.SUPERSEDED, reason, now)
        return []
    forbidden = refusal_by_settings(
        apply_changes=changes.apply_changes,
        is_active=changes.is_active,
        write_is_enabled=changes.write_is_enabled,
        can_auto_update_rate_plans=changes.can_auto_update_rate_plans,
    )
    if forbidden is not None and left:
        raise ChangesStoppedError(
            f"{changes.service_provider_name}: {forbidden}; "
            f"{several(left, 'approved change was', 'approved changes were')} not sent"
        )
    too_late = refusal_by_time(cycle_end=changes.cycle_end, changes=left, calls_per_second=calls_per_second, now=now)
    if too_late is not None and left:
        _reject_unsent(connection, changes, ChangesStatus.NO_GO, too_late, now)
        return []
    return store.sending.next_batch(connection, instance_id=instance_id, batch_size=BATCH_SIZE)


def _reject_unsent(
    connection: WarehouseConnection, changes: InstanceChanges, status: ChangesStatus, reason: str, now: datetime
) -> None:
    """Reject the changes that were not sent yet."""
    instance_id = changes.instance_id
    with connection.transaction():
        applied = changes_by_state(connection, instance_id).get("applied", 0)
        text = f"{reason}; {several(applied, 'was', 'were')} applied before" if applied else reason
        rejected = store.decisions.reject(
            connection, instance_id=instance_id, reason=reason, decided_by=SYSTEM_ACTOR, now=now
        )
        _store(connection, changes, status, text, now)
    log.warning("%s: %s plan changes were not sent: %s", changes.service_provider_name, rejected, reason)


def _apply(
    connection: WarehouseConnection, change: PlanChange, client: CountedReads, clock: Clock, *, is_checked: bool
) -> tuple[str, str | None]:
    """Check and change one SIM; return its state and the reason. ``is_checked``: the SIM is on its old plan, by a list.

    The state is ``withdrawn`` for a change that may no longer be sent, and ``in_doubt`` after an unclear answer.
    """
    is_done, conflict = False, None
    try:
        if not is_checked:
            is_done, conflict = check_present_plan(
                client.device_details(change.iccid),
                iccid=change.iccid,
                from_rate_plan=change.from_rate_plan,
                to_rate_plan=change.to_rate_plan,
            )
        if is_done and (applied_by := store.sending.session_that_applied(connection, change_id=change.id)) is not None:
            reason = f"session {applied_by} applied the same change meanwhile; the saving is that session's"
            store.sending.set_outcome(connection, change_id=change.id, state="rejected", error=reason, now=clock())
            return "rejected", reason
        if not is_done and conflict is None:
            if (refusal := _refusal_by_limits(connection, change, clock())) is not None:
                log.warning("SIM %s: %s", change.iccid, refusal)
                store.sending.set_outcome(connection, change_id=change.id, state="rejected", error=refusal, now=clock())
                return "rejected", refusal
            if not store.sending.set_sent(connection, change_id=change.id, now=clock()):
                return WITHDRAWN, None
            _write(connection, change, client)
    except CarrierRequestError as error:
        return _record_refusal(connection, change, error, clock())
    except CarrierWriteInDoubtError as error:
        text = clean_text(str(error))
        log.warning("%s", text)
        store.sending.set_in_doubt(connection, change_id=change.id, doubt=text, is_denied=error.is_denied, now=clock())
        return IN_DOUBT, text
    state = "applied" if conflict is None else "conflict"
    store.sending.set_outcome(connection, change_id=change.id, state=state, error=conflict, now=clock())
    return state, conflict


def _refusal_by_limits(connection: WarehouseConnection, change: PlanChange, now: datetime) -> str | None:
    """Return why the limits of provider and carrier on a SIM's changes forbid this one now, None if they do not."""
    limits = store.sending.change_limits(
        connection, change_id=change.id, now=now, monthly_limits=Jsonb(monthly_change_limits())
    )
    if limits is None:
        return None
    return refusal_by_limits(**asdict(limits), now=now)


def _write(connection: WarehouseConnection, change: PlanChange, client: CountedReads) -> None:
    """Send the write request, or record that it was not sent."""
    try:
        client.change_rate_plan(change.iccid, change.to_rate_plan)
    except (CarrierUnavailableError, CarrierWriteForbiddenError):
        store.sending.set_not_sent(connection, change_id=change.id)
        raise


def _record_refusal(
    connection: WarehouseConnection, change: PlanChange | DoubtfulChange, error: CarrierRequestError, now: datetime
) -> tuple[str, str]:
    """Record a final refusal of the carrier: a conflict for a SIM that no longer exists, else a failure."""
    is_gone = isinstance(error, CarrierNotFoundError)
    state, text = ("conflict", f"the SIM is no longer at the carrier: {error}") if is_gone else ("failed", str(error))
    store.sending.set_outcome(connection, change_id=change.id, state=state, error=text, now=now)
    log.warning("SIM %s: %s", change.iccid, text)
    return state, text


def _finish(connection: WarehouseConnection, instance_id: int, now: datetime) -> dict[str, int]:
    """Store the end if all changes were handled; return the number of changes by state."""
    counts = changes_by_state(connection, instance_id)
    changes = load_instance_changes(connection, instance_id)
    if changes.changes_status in APPLYING and not counts.get("approved"):
        handled = ", ".join(f"{count} {state}" for state, count in counts.items() if state != "waiting")
        _store(connection, changes, ChangesStatus.APPLIED, handled, now)
    log.info("%s: plan changes of instance %s: %s", changes.service_provider_name, instance_id, figures(counts))
    return counts
