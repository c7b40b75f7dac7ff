"""What operators are notified of: kinds, causes, and from which event each notification follows. Pure.

A notification has a ``dedupe_key``: its event. A second one of the same event is never written. Failures of a provider
for one cause have one key a local day, so that the sessions of the last day of a period do not send a message an hour.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote

from amop import ids
from amop.config import INTEGRATIONS
from amop.notifications import store
from amop.reference.time_zone import load_time_zone
from amop.runs.first_step import first_step, new_optimization, new_sync
from amop.wording import several

KINDS: dict[str, str] = {
    "sync_failed": "The sync failed",
    "optimization_failed": "The optimization failed",
    "task_failed": "A task failed",
    "queue_messages_rejected": "Messages on the device notification queue were rejected",
    "sync_late": "The sync is not complete",
    "carrier_away": "The carrier does not answer",
    "amop_away": "AMOP does not accept messages",
    "new_communication_plans": "New communication plans",
    "sync_summary": "Device sync summary",
    "sims_not_placed": "Fewer SIMs placed than expected",
    "rate_plan_limit_exceeded": "The limit of rate plans is exceeded",
    "plan_change_conflicts": "Plan changes were not made",
}
"""Every kind of notification by the name with which it is switched off, with its title."""

RECENT = timedelta(days=1)
"""Events that are older than this are not reported: the relay was off, or this version has just been installed."""

OUTAGE = timedelta(minutes=15)
"""An outage of a carrier or of AMOP that lasts this long is reported."""

DAILY = timedelta(days=1)
"""A complete sync must have started within this time before the hour at which it is due."""

LISTED_NAMES = 20
"""Communication plans that a message names; the operators' page and the warehouse have all."""

PAGE = "amop/"
"""The operators' page, relative to Airflow's root."""


_VALUE = r"""(?:(?<!\w)'[^'\n]*'(?!\w)|(?<!\w)"[^"\n]*"(?!\w)|\d+(?:,\d{3})*)"""
VALUES = re.compile(rf"{_VALUE}(?:(?:, | and |; ){_VALUE})*")
"""What a person or a sender has typed, as errors quote it, and numbers; a list of them counts as one."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that operators are to be notified of."""

    kind: str
    dedupe_key: str
    provider: str
    """Name of the provider; empty where the event concerns none."""
    cause: str
    first_step: str
    """What to do first, as a clause."""
    address: str
    """Page of Airflow, relative to its root."""

    @property
    def cause_key(self) -> str:
        """Kind and cause without names and numbers; pending notifications with the same key become one message."""
        if self.kind in REPORTS:
            return self.kind
        # A step with a command is of one provider.
        own = f":{self.dedupe_key}" if "--conf" in self.first_step else ""
        return f"{self.kind}:{fingerprint(self.cause, self.provider)}{own}"


REPORTS = frozenset({"sync_summary", "new_communication_plans"})
"""Kinds of which those of all providers become one message, whatever they say."""


def switched_off(names: str | None) -> frozenset[str]:
    """Return the kinds that a list of names switches off; names are separated by ``;``, ``,`` or spaces.

    Raises:
        ValueError: a name is not one of `KINDS`; the message names it and all kinds.
    """
    found = frozenset(re.split(r"[;,\s]+", (names or "").strip())) - {""}
    if unknown := sorted(found - KINDS.keys()):
        raise ValueError(
            f"{', '.join(map(repr, unknown))} is not a kind of notification; these are: {', '.join(KINDS)}"
        )
    return found


def fingerprint(cause: str, provider: str = "") -> str:
    """Return a short text that is the same for one cause, whatever provider and numbers its sentence names."""
    sentence = cause.replace(provider, "") if provider else cause
    return hashlib.sha256(re.sub(r"\d+(?:,\d{3})*", "#", sentence).encode("utf-8", "replace")).hexdigest()[:16]


def kinds_of_parts(error: str) -> str:
    """Return an error without the values that it quotes, and each part of a list with ``;`` once.

    A burst of refused messages, or of providers with the same fault, is then one cause however many there are.
    """
    return "; ".join(dict.fromkeys(VALUES.sub("#", error).split("; ")))


def run_address(dag_id: str, dag_run_id: str) -> str:
    """Return the page of a DAG run, relative to Airflow's root."""
    return f"dags/{quote(dag_id, safe='')}/runs/{quote(dag_run_id, safe='')}"


def local_day(moment: datetime, time_zone: str) -> date:
    """Return the local date of a moment; the date in UTC where the time zone is wrong."""
    try:
        return moment.astimezone(load_time_zone(time_zone)).date()
    except ValueError:
        return moment.astimezone(UTC).date()


def of_failed_run(run: store.FailedRun) -> Notification:
    """Return the notification of a sync that failed or was refused."""
    cause = run.error or "the reason was not recorded"
    day = local_day(run.ended_at, run.time_zone)
    return Notification(
        kind="sync_failed",
        dedupe_key=f"sync_failed:{run.service_provider_id}:{day}:{fingerprint(cause)}",
        provider=run.provider,
        cause=cause,
        first_step=first_step(
            run.error, new_run=new_sync(run.dag_id, run.service_provider_id) if run.is_deleted else None
        ),
        address=run_address(run.dag_id, run.dag_run_id),
    )


def of_failed_session(session: store.FailedSession) -> Notification:
    """Return the notification of an optimization that failed on its own."""
    cause = session.error or "the reason was not recorded"
    day = local_day(session.ended_at, session.time_zone)
    return Notification(
        kind="optimization_failed",
        dedupe_key=f"optimization_failed:{session.service_provider_id}:{day}:{fingerprint(cause)}",
        provider=session.provider,
        cause=cause,
        first_step=first_step(
            session.error,
            new_run=new_optimization(session.integration, session.service_provider_id) if session.is_deleted else None,
            of_session=True,
        ),
        address=f"{PAGE}session/{session.session_id}",
    )


def of_failed_task(dag_id: str, dag_run_id: str, task_id: str, provider: str, error: str, day: date) -> Notification:
    """Return the notification of a task whose failure no run and no session records.

    Args:
        dag_id: its DAG.
        dag_run_id: its DAG run.
        task_id: the task.
        provider: name of its provider, empty if it has none.
        error: the error's text.
        day: the present date; the same cause is reported once a day, whatever values the error quotes.
    """
    return Notification(
        kind="task_failed",
        dedupe_key=f"task_failed:{dag_id}:{day}:{fingerprint(kinds_of_parts(error))}",
        provider=provider,
        cause=f"{dag_id}, task {task_id}: {error}",
        first_step=first_step(error),
        address=run_address(dag_id, dag_run_id),
    )


def of_rejected_messages(messages: Iterable[store.RejectedMessage]) -> Iterator[Notification]:
    """Return the notifications of rejected queue messages: one for each day (UTC) and reason, values apart."""
    causes: dict[str, list[store.RejectedMessage]] = {}
    for message in messages:
        day, reason = message.received_at.astimezone(UTC).date(), VALUES.sub("#", message.reason)
        causes.setdefault(f"queue_messages_rejected:{day}:{fingerprint(reason)}", []).append(message)
    for key, found in causes.items():
        listed = ", ".join(message.message_id for message in found[:LISTED_NAMES])
        more = f" and {len(found) - LISTED_NAMES} more" if len(found) > LISTED_NAMES else ""
        yield Notification(
            kind="queue_messages_rejected",
            dedupe_key=key,
            provider="",
            cause=f"{found[0].reason}\nRejected so far: {len(found)} ({listed}{more})",
            first_step="correct the cause at the sender and send the messages again; they are in bin/amop messages "
            "received, and in the dead-letter queue if there is one",
            address=run_address(ids.DEVICE_NOTIFICATION_DAG, found[0].dag_run_id),
        )


def of_new_plans(plans: store.NewCommunicationPlans) -> Notification:
    """Return the notification of communication plans that were seen for the first time."""
    more = f" and {len(plans.names) - LISTED_NAMES} more" if len(plans.names) > LISTED_NAMES else ""
    return Notification(
        kind="new_communication_plans",
        dedupe_key=f"new_communication_plans:{plans.service_provider_id}:{plans.added_at.isoformat()}",
        provider=plans.provider,
        cause=(
            f"{several(len(plans.names), 'new communication plan needs', 'new communication plans need')} to be "
            f"associated to rate plans in order to optimize or deactivate devices: "
            f"{', '.join(plans.names[:LISTED_NAMES])}{more}"
        ),
        first_step="map these communication plans to rate plans in the reference file, then run bin/amop "
        "load-reference",
        address=PAGE,
    )


def of_completed_run(run: store.CompletedRun) -> Notification:
    """Return the device sync summary of a complete run."""
    return Notification(
        kind="sync_summary",
        dedupe_key=f"sync_summary:{run.run_id}",
        provider=run.provider,
        cause="\n".join(f"{label}: {value}" for label, value in _summary_lines(run.summary)),
        first_step="nothing, unless a figure is not what you expect",
        address=run_address(run.dag_id, run.dag_run_id),
    )


def _summary_lines(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the figures of the replaced system's summary, and quarantined records and warnings if there are any."""
    yield "Device detail last sync date", _moment(summary.get("detail_last_sync_date"))
    yield "Device detail queue count", _count(summary.get("detail_queue_count"))
    yield "Device detail updated count", _count(summary.get("detail_updated_count"))
    yield "Device usage last sync date", _moment(summary.get("usage_last_sync_date"))
    yield "Device usage queue count", _count(summary.get("usage_queue_count"))
    yield "Device usage updated count", _count(summary.get("usage_updated_count"))
    yield "Device count", _count(summary.get("device_count"))
    for label, name in (
        ("Quarantined SIMs", "devices_quarantined"),
        ("Quarantined usage records", "usage_quarantined"),
        ("SIMs that vanished", "devices_vanished"),
    ):
        if summary.get(name):
            yield label, _count(summary[name])
    for warning in summary.get("warnings") or ():
        yield "Warning", str(warning)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown"


def _moment(value: Any) -> str:
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value else "unknown"


def of_optimization_gap(gap: store.OptimizationGap) -> Iterator[Notification]:
    """Return the notifications of an optimization that could not place all SIMs that were expected."""
    day, address = local_day(gap.ended_at, gap.time_zone), f"{PAGE}session/{gap.session_id}"
    if gap.groups_above_limit:
        yield Notification(
            kind="rate_plan_limit_exceeded",
            dedupe_key=f"rate_plan_limit_exceeded:{gap.service_provider_id}:{day}",
            provider=gap.provider,
            cause=(
                f"{several(gap.groups_above_limit, 'comm group has', 'comm groups have')} more rate plans (up to "
                f"{gap.most_rate_plans}) than the provider's limit of {gap.rate_plan_limit}; the SIMs of such a group "
                "keep their present plans"
            ),
            first_step="raise rate_plan_limit of the provider in the reference file, or map fewer rate plans",
            address=address,
        )
    if gap.device_count < gap.expected_device_count:
        known = [line for line in (gap.warning or "").splitlines() if "SIMs were placed" in line]
        yield Notification(
            kind="sims_not_placed",
            dedupe_key=f"sims_not_placed:{gap.service_provider_id}:{day}",
            provider=gap.provider,
            cause=known[0]
            if known
            else f"Only {gap.device_count} of {gap.expected_device_count} expected SIMs were placed",
            first_step="see the excluded SIMs of the session with their reasons",
            address=address,
        )


def of_conflicts(conflicts: store.ChangeConflicts) -> Notification:
    """Return the notification of plan changes that were not made at the carrier."""
    example = f"; for example: {conflicts.error}" if conflicts.error else ""
    return Notification(
        kind="plan_change_conflicts",
        dedupe_key=f"plan_change_conflicts:{conflicts.instance_id}",
        provider=conflicts.provider,
        cause=(
            f"{several(conflicts.conflict_count, 'plan change')} met another plan at the carrier and "
            f"{'was' if conflicts.conflict_count == 1 else 'were'} not sent, {conflicts.failure_count:,} "
            f"failed{example}"
        ),
        first_step="see the changes of the session; the next sync and optimization decide anew",
        address=f"{PAGE}session/{conflicts.session_id}",
    )


def late_syncs(syncs: Iterable[store.LastSync], now: datetime, due_hour: int) -> Iterator[Notification]:
    """Return the notifications of the providers without a complete sync at a local hour.

    A provider whose sync has failed meanwhile is excluded: that failure has its own notification. So is one whose SIMs
    the existing system reads.

    Args:
        syncs: the active providers.
        now: the present time.
        due_hour: local hour of each provider, 0 to 23.
    """
    for sync in syncs:
        if sync.integration not in INTEGRATIONS:
            continue  # the existing system reads its SIMs
        try:
            zone = load_time_zone(sync.time_zone)
        except ValueError:
            continue  # its sync is refused with this reason
        day = now.astimezone(zone).date()
        due = datetime.combine(day, time(due_hour), zone)
        if now < due or (sync.complete_started_at and sync.complete_started_at >= due - DAILY):
            continue
        if sync.failed_at and sync.failed_at >= due - DAILY:
            continue
        began = sync.complete_started_at
        last = f"the last one began at {began.astimezone(zone):%Y-%m-%d %H:%M}" if began else "there was none yet"
        yield Notification(
            kind="sync_late",
            dedupe_key=f"sync_late:{sync.service_provider_id}:{day}",
            provider=sync.provider,
            cause=f"No sync of the last 24 hours is complete at {due_hour}:00 {sync.time_zone}; {last}",
            first_step=f"see whether {ids.device_sync_dag(sync.integration)} is paused, running or waiting for a slot",
            address=f"dags/{ids.device_sync_dag(sync.integration)}",
        )


def of_amop_outage(outage: store.AmopOutage) -> Notification:
    """Return the notification of an AMOP that does not accept messages."""
    return Notification(
        kind="amop_away",
        dedupe_key=f"amop_away:{outage.message_id}",
        provider="",
        cause=(
            f"AMOP has accepted no message since {outage.waiting_since.astimezone(UTC):%Y-%m-%d %H:%M} UTC; "
            f"{outage.waiting} wait. Last error: {outage.last_error}"
        ),
        first_step="check AMOP and connection amop_api; no message is lost, all are sent when AMOP is back",
        address=f"dags/{ids.AMOP_RELAY_DAG}",
    )


def of_carrier_outage(outage: store.CarrierOutage) -> Notification:
    """Return the notification of a carrier that does not answer."""
    next_call = f"; next call at {outage.open_until.astimezone(UTC):%H:%M} UTC" if outage.open_until else ""
    return Notification(
        kind="carrier_away",
        dedupe_key=f"carrier_away:{outage.api_user}:{outage.failing_since.isoformat()}",
        provider=outage.account,
        cause=(
            f"No usable answer since {outage.failing_since.astimezone(UTC):%Y-%m-%d %H:%M} UTC{next_call}. "
            f"The last one: {outage.last_failure}"
        ),
        first_step="wait, the syncs resume on their own; ask the carrier if it lasts",
        address=PAGE,
    )
