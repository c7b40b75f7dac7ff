"""When plan changes are sent: certain ones at once, doubtful ones in the last optimization that still fits.

A change is doubtful where its regret is high relative to its expected saving (`amop.solver.stake`).
Usage is known better with every day that passes, but a change that waits is lost with the session that was to send it.
So nothing waits unless the first session of a later day leaves time for all changes, at the provider's measured pace.
On the last day nothing waits: its later sessions are the reserve for a failure of the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from amop.plan_changes.rules import latest_start
from amop.plan_changes.store.decisions import TimingFacts
from amop.reference.time_zone import load_time_zone
from amop.runs.session_window import is_last_day, next_daily_session

LATEST_SESSIONS = 10
"""Latest sessions of a provider; the longest of them is how long the next one may take."""
UNKNOWN_SESSION = timedelta(hours=2)
"""Assumed length of a session from the start of the device sync to the results, without a complete one."""
TIME_TO_ANSWER = timedelta(hours=8)
"""Left for an approval request where the provider has a limit above which one is needed: a working day."""


class DoubtfulChanges(StrEnum):
    """``service_provider.doubtful_changes``: which doubtful changes wait."""

    WAIT_IF_LIMITED = "wait_if_limited"
    """Those of SIMs whose plan could not be changed again until the later session."""
    WAIT = "wait"
    AT_ONCE = "at_once"
    """None."""


@dataclass(frozen=True, slots=True)
class LaterRun:
    """The last optimization of the period that still fits, for which doubtful changes wait."""

    decides_at: datetime
    """When its results are expected."""
    reason: str


def last_fitting_run(
    facts: TimingFacts,
    *,
    now: datetime,
    cycle_end: datetime,
    time_zone: str,
    calls_per_second: float,
    may_need_approval: bool,
) -> LaterRun | None:
    """Return the last later optimization that leaves time for all changes, None if this one is the last that fits.

    Args:
        facts: of the instance.
        now: the present time, aware.
        cycle_end: the period's end.
        time_zone: of the provider.
        calls_per_second: pace at which its changes are applied.
        may_need_approval: whether the provider has a limit above which changes need an approval.
    """
    if facts.doubtful_changes == DoubtfulChanges.AT_ONCE or not facts.doubtful_count:
        return None
    length = facts.longest_session or UNKNOWN_SESSION
    answer = TIME_TO_ANSWER if may_need_approval else timedelta(0)
    latest = latest_start(cycle_end, facts.change_count, calls_per_second) - answer
    fitting, moment = None, now
    while not is_last_day(moment, cycle_end=cycle_end, time_zone=time_zone):
        moment = next_daily_session(
            moment, time_zone=time_zone, optimization_start_hour_local=facts.optimization_start_hour_local
        )
        if moment + length > latest:
            break
        fitting = moment
    if fitting is None:
        return None
    reason = (
        f"waits for the optimization of {_local_day(fitting, time_zone)}, the last one that leaves time for all "
        "changes: another plan may be better by the end of the period"
    )
    return LaterRun(fitting + length, reason)


def _local_day(moment: datetime, time_zone: str) -> str:
    return f"{moment.astimezone(load_time_zone(time_zone)):%Y-%m-%d}"
