"""What each provider needs from a person, the most urgent first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from textwrap import shorten

from amop import ids
from amop.config import INTEGRATIONS, KNOWN_INTEGRATIONS
from amop.page import formatting
from amop.page.store.today import ProviderRow
from amop.runs.first_step import first_step, new_optimization, new_sync
from amop.runs.lost_changes import ChangesRun, approval_loss, approval_step, sending_loss, sending_step
from amop.time_limits import STALE_AFTER
from amop.wording import capped, money, reached, several

LATE_AFTER = timedelta(hours=30)
"""A daily sync that is older than this has been missed; the longest run of one may take as long."""

UNUSUAL_USAGE = Decimal("0.5")
"""Usage this share above or below the usual one is marked."""

LONGEST_REASON = 240
"""Characters of an error; the run has the rest."""

ENDED_BADLY = frozenset({"failed", "refused"})
"""Statuses of a sync that merged nothing."""


class Need(IntEnum):
    """What a provider needs, the most urgent first."""

    FAILED = 0
    STOPPED = 1
    CARRIER = 2
    """Its API user gets no usable answer."""
    APPROVAL = 3
    LATE = 4
    MESSAGES = 5
    POOL = 6
    """A pool is heading over its allowance."""
    QUARANTINE = 7
    WARNING = 8
    STARTING = 9
    """Its first sync is running."""
    EXTERNAL = 10
    """The existing system reads its SIMs."""
    FINE = 11


LESSER = frozenset({Need.POOL, Need.QUARANTINE, Need.WARNING})
"""Needs that can wait."""


@dataclass(frozen=True, slots=True)
class Link:
    """What to do next, and where."""

    text: str
    address: str
    is_airflow: bool = False
    """True for an address of Airflow's own pages, False for one of this page."""


@dataclass(frozen=True, slots=True)
class ProviderToday:
    """A provider with what it needs."""

    stored: ProviderRow
    need: Need
    reason: str
    """Sentence without the provider's name; empty if it is fine."""
    next_step: Link | None
    now: datetime
    action: str = ""
    """What to do first, as a clause; empty if it is fine."""

    @property
    def needs_nothing(self) -> bool:
        """True if it is fine, its first sync is running, or the existing system reads its SIMs."""
        return self.need >= Need.STARTING

    @property
    def needs_attention(self) -> bool:
        """True if a person has to act before the next night."""
        return not self.needs_nothing and self.need not in LESSER

    @property
    def sync_age(self) -> timedelta | None:
        """Time since the last complete sync."""
        return None if self.stored.synced_at is None else self.now - self.stored.synced_at

    @property
    def days_left(self) -> int | None:
        """Days until the billing period ends, begun ones included."""
        end = self.stored.cycle_end
        return None if end is None else max(0, -((self.now - end) // timedelta(days=1)))

    @property
    def usage_ratio(self) -> Decimal | None:
        """Usage of the cycle as a multiple of the usual one at this time; None without a history."""
        stored = self.stored
        if stored.usage_as_of is None or stored.cycle_start is None or not stored.sync_is_of_period:
            return None
        if not stored.usual_usage or stored.usual_elapsed is None or stored.data_usage is None:
            return None
        elapsed = stored.usage_as_of - stored.cycle_start
        expected = stored.usual_usage * Decimal(elapsed / stored.usual_elapsed)
        return stored.data_usage / expected if expected > 0 else None

    @property
    def has_unusual_usage(self) -> bool:
        """True if the usage differs from the usual one by more than `UNUSUAL_USAGE`."""
        return self.usage_ratio is not None and abs(self.usage_ratio - 1) > UNUSUAL_USAGE

    @property
    def progress_text(self) -> str | None:
        """What a running sync or session has done so far."""
        stored = self.stored
        parts = []
        if stored.run_status == "running":
            parts.append(f"sync: {several(stored.run_pages or 0, 'page')}, {formatting.count(stored.rows_left)} left")
        if stored.session_status == "running":
            parts.append(f"session {stored.session_id}: {stored.session_progress} %")
        return "; ".join(parts) or None

    @property
    def has_unsent_changes(self) -> bool:
        """True if approved plan changes were not all sent, and no task seems to send them."""
        return _unsent(self.stored, self.now) is not None

    @property
    def cap_note(self) -> str | None:
        """What the limit on plan changes has kept from being saved; None where it was not reached."""
        return capped(
            self.stored.change_cap, self.stored.uncapped_changes, self.stored.uncapped_saving, self.stored.currency
        )

    @property
    def possible_saving(self) -> Decimal | None:
        """What the optimized plans cost less than the forecast bill."""
        stored = self.stored
        if stored.forecast_bill is None or stored.optimized_bill is None:
            return None
        return stored.forecast_bill - stored.optimized_bill


def judge(row: ProviderRow, now: datetime) -> ProviderToday:
    """Return a provider with its most urgent need."""
    need, reason, step = _most_urgent(row, now)
    return ProviderToday(row, need, reason, step, now, _action(row, need))


def _action(row: ProviderRow, need: Need) -> str:
    """Return what to do first, in words that serve on the page, in a terminal and in a mail."""
    sync = ids.device_sync_dag(row.integration)
    actions = {
        Need.FAILED: "unpause amop_relay, which ends the session, then trigger the optimization again",
        Need.CARRIER: "wait, its tasks resume on their own; ask the carrier if it lasts",
        Need.LATE: f"trigger {sync} and see that it is not paused",
        Need.MESSAGES: "see the errors of these messages, then send them again as the runbook says",
        Need.POOL: "see the finding and what it says to do",
        Need.QUARANTINE: "run bin/amop quarantine list",
        Need.WARNING: "read the warnings of the sync",
    }
    if need is Need.STOPPED:
        return unsent_action(row)
    if need is Need.APPROVAL:
        return approval_step(_approval_run(row))
    if need is Need.FAILED and row.run_status in ENDED_BADLY:
        new_run = new_sync(row.run_dag_id or sync, row.id) if row.run_is_deleted else None
        return first_step(row.run_error, new_run=new_run)
    if need is Need.FAILED and row.session_sync_is_redone:
        return f"trigger the optimization: {new_optimization(row.integration, row.id)}"
    if need is Need.FAILED and row.session_status == "failed":
        new_run = new_optimization(row.integration, row.id) if row.session_is_deleted else None
        return first_step(row.session_error, new_run=new_run, of_session=True)
    return actions.get(need, "")


def unsent_action(row: ProviderRow) -> str:
    """Return what to do about approved plan changes that were not sent."""
    return sending_step(_unsent_run(row), is_stopped=bool(row.unsent_is_stopped), reason=row.unsent_reason)


def unsent_reached(row: ProviderRow) -> str | None:
    """Return what the changes that were sent have done to the bill, as a sentence without its period."""
    applied, whole = row.unsent_applied or 0, row.unsent_whole or 0
    return reached(applied, whole, row.unsent_reached_saving, row.unsent_saving, row.currency)


def _approval_run(row: ProviderRow) -> ChangesRun:
    return ChangesRun(
        row.integration,
        row.id,
        row.approval_session_id or 0,
        is_deleted=bool(row.approval_is_deleted),
        has_ended=bool(row.approval_is_lost),
    )


def _unsent_run(row: ProviderRow) -> ChangesRun:
    return ChangesRun(
        row.integration,
        row.id,
        row.unsent_session_id or 0,
        is_deleted=bool(row.unsent_is_deleted),
        has_ended=bool(row.unsent_is_lost),
    )


def _most_urgent(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None]:
    approval, unsent, failure = _approval(row), _unsent(row, now), _failure(row, now)
    outage = _outage(row)
    others = [
        *([] if failure is None or unsent is None else [f"{unsent[1][0].upper()}{unsent[1][1:]}"]),
        *([] if approval is None else [f"Session {row.approval_session_id} waits: {approval[1]}"]),
    ]
    first = failure or unsent
    if first is not None:
        need, reason, link = first
        return need, ". ".join([reason, *others]), link
    if outage is not None:
        need, reason, link = outage
        return need, ". ".join([reason, *others]), link
    for found in (approval, _lateness(row, now), _leftovers(row), _starting(row), _external(row)):
        if found is not None:
            return found
    return Need.FINE, "", None


def _failure(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None] | None:
    if row.run_status in ENDED_BADLY:
        verb = "failed" if row.run_status == "failed" else "was refused"
        reason = f"the sync {verb} at {formatting.moment(row.run_ended_at)}: {_sentence(row.run_error)}"
        if row.run_is_deleted:
            return Need.FAILED, f"{reason}. Its run was deleted in Airflow", _new_sync_link(row)
        return Need.FAILED, reason, Link("See the failed sync", _run_address(row), is_airflow=True)
    is_stale = (
        row.session_status == "running"
        and row.session_heartbeat_at is not None
        and now - row.session_heartbeat_at > STALE_AFTER
    )
    if is_stale:
        reason = f"session {row.session_id} has sent no heartbeat since {formatting.moment(row.session_heartbeat_at)}"
        return Need.FAILED, reason, Link("See the session", f"session/{row.session_id}")
    if row.session_sync_is_redone:
        reason = (
            f"the sync of session {row.session_id} failed, and the sync of {formatting.moment(row.synced_at)} has "
            "replaced it: only the optimization is missing"
        )
        return Need.FAILED, reason, Link("See the session", f"session/{row.session_id}")
    if row.session_status == "failed":
        reason = f"session {row.session_id} failed: {_sentence(row.session_error)}"
        reason += ". Its run was deleted in Airflow" if row.session_is_deleted else ""
        return Need.FAILED, reason, Link("See the failed session", f"session/{row.session_id}")
    return None


def _outage(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.failing_since is None:
        return None
    reason = f"its carrier has given no usable answer since {formatting.moment(row.failing_since)}"
    if row.run_status == "running" and row.run_dag_run_id is not None:
        return Need.CARRIER, reason, Link("See the sync", _run_address(row), is_airflow=True)
    dag = ids.device_sync_dag(row.integration)
    return Need.CARRIER, reason, Link("See the syncs", f"dags/{dag}", is_airflow=True)


def _approval(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.approval_session_id is None:
        return None
    saving = money(row.approval_savings, row.currency)
    changes = several(row.approval_changes or 0, "plan change", "plan changes")
    reason = f"an approval is needed for {changes}, saving {saving}"
    if (loss := approval_loss(_approval_run(row))) is not None:
        return Need.APPROVAL, f"{reason}; {loss}", Link("See the session", f"session/{row.approval_session_id}")
    return Need.APPROVAL, reason, Link("Approve or reject", f"session/{row.approval_session_id}#approval")


def _lateness(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None] | None:
    if row.run_status == "running" or row.integration not in INTEGRATIONS:
        return None
    link = _new_sync_link(row)
    if row.synced_at is None:
        return Need.LATE, "it has never been synced", link
    if now - row.synced_at > LATE_AFTER:
        return Need.LATE, f"the last complete sync is {formatting.span(now - row.synced_at)} old", link
    return None


def _unsent(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None] | None:
    """Return the need of approved plan changes that were not all sent: applying has stopped, or sends nothing."""
    if row.unsent_session_id is None or row.unsent_since is None:
        return None
    loss, done = sending_loss(_unsent_run(row)), unsent_reached(row)
    so_far = "" if done is None else f". {done}"
    if not row.unsent_is_stopped and loss is None and now - row.unsent_since <= STALE_AFTER:
        return None
    count = several(row.unsent_changes or 0, "approved plan change", "approved plan changes")
    link = Link("See the plan changes", f"session/{row.unsent_session_id}/changes?state=approved")
    verb = "was" if row.unsent_changes == 1 else "were"
    if not row.unsent_is_stopped and loss is not None:
        return Need.STOPPED, f"{count} of session {row.unsent_session_id} {verb} not sent: {loss}{so_far}", link
    if not row.unsent_is_stopped:
        waits = "waits" if row.unsent_changes == 1 else "wait"
        idle = f"{count} of session {row.unsent_session_id} {waits}, and none was sent since"
        return Need.STOPPED, f"{idle} {formatting.moment(row.unsent_since)}{so_far}", link
    reason = f"{count} of session {row.unsent_session_id} {verb} not sent: {_sentence(row.unsent_reason)}{so_far}"
    return Need.STOPPED, reason, link


def _starting(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.run_status != "running" or row.synced_at is not None:
        return None
    return Need.STARTING, "its first sync is running", None


def _external(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.integration in INTEGRATIONS:
        return None
    known = KNOWN_INTEGRATIONS.get(row.integration)
    carrier = known.display_name if known else row.integration
    return Need.EXTERNAL, f"the existing system reads its SIMs; this package has no client of {carrier}", None


def _new_sync_link(row: ProviderRow) -> Link:
    return Link("Start a sync", f"dags/{ids.device_sync_dag(row.integration)}", is_airflow=True)


def _leftovers(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.dead_messages:
        reason = f"AMOP refused {several(row.dead_messages, 'message', 'messages')}"
        return Need.MESSAGES, reason, Link("See the messages", "outbox?state=dead")
    if row.pools_over:
        over = several(row.pools_over, "pool is", "pools are")
        reason = f"{over} heading over the allowance, costing {money(row.pools_over_amount, row.currency)}"
        return Need.POOL, reason, Link("See the findings", f"findings?provider={row.id}")
    if row.quarantined:
        reason = f"quarantine holds {several(row.quarantined, 'record', 'records')}"
        return Need.QUARANTINE, reason, Link("See the quarantine", "quarantine")
    if row.run_warnings:
        reason = f"the last sync has {several(row.run_warnings, 'warning', 'warnings')}"
        return Need.WARNING, reason, Link("See the sync", _run_address(row), is_airflow=True)
    return None


def _run_address(row: ProviderRow) -> str:
    return formatting.airflow_run(row.run_dag_id or "", row.run_dag_run_id or "")


def _sentence(text: str | None) -> str:
    return shorten(text or "the reason was not recorded", LONGEST_REASON, placeholder=" …").rstrip(".")
