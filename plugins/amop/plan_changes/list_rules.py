"""Rules of the list of modified SIMs: when it replaces one read for each plan change, and what it proves.

Between the device list that the changes are built on and the write, another party may change a SIM. A carrier that
lists the SIMs modified since a moment says which: only these are read individually before they are written.
The same list shows the changes made until then, which reads them back. It is read again every few writes.

No clock of the carrier is needed: the changes that were made and confirmed prove what a list covers. A list that shows
a change made shortly before it is current. A list whose first own change was made before the previous list was read
covers everything since that list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from amop.plan_changes.rules import VERIFICATION_SAMPLE
from amop.plan_changes.store.sending import DeviceList, RecentWrite
from amop.runs.opening import OVERLAP
from amop.wording import several

NO_CERTAIN_LIST = "the device list of the optimization does not say the plan of every SIM for certain"
OLDEST_LIST = timedelta(days=2)
"""An older device list is not built upon: each SIM is read before its change."""

MARGINS = tuple(timedelta(seconds=seconds) for seconds in (30, 180, 1080))
"""A list begins this long before the newest change that the previous one showed: by the first that proves enough. The
shortest is also how late the carrier may list another party's modification."""

FIRST_MARGIN = OVERLAP
"""The first list begins this long before the device list did, as the incremental list of a sync does."""

BATCH_SIZE = 50
"""Fewest changes between two lists: ten seconds at five calls a second."""
CHANGES_PER_PAGE = 20
"""Fewest changes for each page of the previous list, so that the lists cost a twentieth of the writes: with the margin,
90 changes or 20 seconds at five calls a second."""
LONGEST_INTERVAL = timedelta(minutes=2)
"""Nothing is written by a list older than this, however slow the calls are."""

NEWEST_WRITES = 50
"""A list is current if it shows one of this number of latest changes: a carrier may show a change some seconds late."""

ASSUMED_DAILY_SHARE = 0.1
"""Share of the SIMs modified in a day, assumed for a provider without an incremental list."""

OVERLAP_CALLS = 1.2
"""Calls of a long list whose pages overlap, for each page of one whose pages do not; up to 98 SIMs take no more."""

SPARE_PAGES = 10
"""The first list may have twice the expected pages and this number more."""


@dataclass(frozen=True, slots=True)
class ExpectedReads:
    """Calls, beside the writes, that a number of changes is expected to take."""

    by_list: int
    one_by_one: int
    most_pages: int
    """Longest first list that is read to its end."""


def expected_reads(device_list: DeviceList, changes: int, page_size: int, age: timedelta) -> ExpectedReads:
    """Return the calls of both ways, the verification included.

    Args:
        device_list: what is known of the fleet.
        changes: number of changes to send.
        page_size: SIMs on a page of the carrier's list.
        age: time since the device list began.
    """
    one_by_one = changes + min(changes, VERIFICATION_SAMPLE)
    fleet = max(device_list.device_count, 1)
    daily = device_list.daily_modified_count
    daily = math.ceil(ASSUMED_DAILY_SHARE * fleet) if daily is None else daily
    modified = min(fleet, daily * (age + FIRST_MARGIN) / timedelta(days=1))
    pages = math.ceil(OVERLAP_CALLS * modified / page_size) + 1
    # Each list shows the changes since the one before, and those of its margin.
    later_lists = math.ceil(changes / CHANGES_PER_PAGE)
    reads_first = 1 + math.ceil(changes * modified / fleet)
    by_list = pages + later_lists + reads_first
    most_pages = min(2 * pages + SPARE_PAGES, max(0, one_by_one - later_lists - 1))
    return ExpectedReads(by_list, one_by_one, most_pages)


def reason_to_read_each(device_list: DeviceList, began_at: datetime, now: datetime) -> str | None:
    """Return why each SIM is read before its change whatever it costs, None if a list may say which ones to read."""
    if device_list.refusal is not None:
        return device_list.refusal
    if not device_list.is_certain:
        return NO_CERTAIN_LIST
    if now - began_at > OLDEST_LIST:
        return f"the device list of the optimization is older than {several(OLDEST_LIST.days, 'day')}"
    return None


def overlapping_page(read: int, page_size: int) -> tuple[int, int]:
    """Return number and size of the page that has the last SIM that was read again, and reaches farthest beyond it.

    Pages of one size follow each other without a common SIM. Those of different sizes do not: after the 50 SIMs of the
    first page, page 2 of 49 has the SIMs 50 to 98, after these page 3 of 48 those from 97 to 144.

    Args:
        read: number of SIMs that were read, at least 1.
        page_size: most SIMs of a page, at least 20: no list is so long that its length is a multiple of all sizes above
            half of it.
    """
    size = max(range(page_size, page_size // 2, -1), key=lambda size: ((read - 1) // size + 1) * size)
    return (read - 1) // size + 1, size


def writes_until_next_list(pages: int) -> int:
    """Return how many changes are written by a list of a number of pages before the next one is read."""
    return max(BATCH_SIZE, CHANGES_PER_PAGE * pages)


def newest_shown(
    listed: Sequence[str], writes: Sequence[RecentWrite], since: datetime | None = None
) -> RecentWrite | None:
    """Return the newest change that a list shows, None if it shows none of the latest ones: it is not current.

    Args:
        listed: ICCIDs of the list.
        writes: confirmed changes, the newest first.
        since: ``sent_at`` of the newest change that the previous list showed: if later ones were made, one of them is
            to be shown; None for the first list.
    """
    shown = set(listed)
    latest = writes[:NEWEST_WRITES]
    later = [write for write in latest if since is None or write.sent_at > since]
    return next((write for write in later or latest if write.iccid in shown), None)


def covers(listed: Sequence[str], writes: Sequence[RecentWrite], since: datetime) -> bool:
    """Return True if a list has all modifications since a change that the previous list showed.

    The list is in order of modification. If its first own change is that change or an earlier one, nothing that came
    after it is missing.

    Args:
        listed: ICCIDs of the list, in its order.
        writes: confirmed changes.
        since: ``sent_at`` of the newest change that the previous list showed.
    """
    sent_at = {write.iccid: write.sent_at for write in writes}
    first = next((sent_at[iccid] for iccid in listed if iccid in sent_at), None)
    return first is not None and first <= since
