"""Check plan changes by the carrier's list of modified SIMs, while they are sent; see `amop.plan_changes.list_rules`.

What a list shows is committed before the next change is sent: an unsent change of a listed SIM is marked
``is_read_first``, an applied one that the list shows on its target plan is verified. A process that continues after a
kill reads the list from where the last one ended.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from amop.carriers.errors import CarrierFormatError, CarrierRequestError, CarrierUnavailableError
from amop.clock import Clock
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection
from amop.families import Family, IdentifierRule
from amop.foreign_text import clean_text
from amop.plan_changes import store
from amop.plan_changes.counted_reads import CountedReads
from amop.plan_changes.list_rules import (
    BATCH_SIZE,
    FIRST_MARGIN,
    LONGEST_INTERVAL,
    MARGINS,
    NO_CERTAIN_LIST,
    SPARE_PAGES,
    covers,
    expected_reads,
    newest_shown,
    overlapping_page,
    reason_to_read_each,
    writes_until_next_list,
)
from amop.plan_changes.rules import GONE_STATUSES, present_plan
from amop.plan_changes.store.decisions import InstanceChanges, changes_by_state
from amop.plan_changes.store.sending import PlanChange
from amop.wording import several

log = logging.getLogger(__name__)

RECENT_WRITES = 2_000
"""Confirmed changes that a list is compared with: many more than lie between two lists."""
MAXIMUM_READINGS = 3
"""Read a list at most this many times because SIMs moved meanwhile."""
MAXIMUM_FAILURES = 3
"""After more consecutive lists than this that prove nothing, each SIM is read before its change."""
FEWEST_CHANGES = 3
"""Fewer changes than this cost less with a read each than with one more list."""


class ListNotUsableError(Exception):
    """The list of modified SIMs does not say which SIMs were modified; the message says why."""


class SimsMovedError(Exception):
    """SIMs of a list were modified or removed while it was read, and another may have been missed."""


@dataclass(frozen=True, slots=True)
class ModifiedSims:
    """A complete list of modified SIMs."""

    rate_plans: dict[str, str | None]
    """ICCID → rate plan, in order of modification."""
    pages: int
    read_at: datetime
    """When its last page was requested."""


def read_modified(
    client: CountedReads,
    *,
    since: datetime,
    most_pages: int,
    page_size: int,
    identifier: IdentifierRule,
    clock: Clock,
) -> ModifiedSims:
    """Return the SIMs modified since a moment.

    Each page begins with SIMs that were read before, at the same places (`overlapping_page`). If it does not, a SIM was
    removed or modified meanwhile, and those behind it have moved up: one may be on no page. A modified SIM moves to the
    end of the list, also the last one of a page: then the SIMs before it on a later page may be unread.

    Every SIM that the list contains when its last page is read is returned, whatever was modified meanwhile. Removals
    alone hide none either. One coincidence does: between two pages a SIM that was read is removed, and the common SIMs
    of these pages are modified in their order but keep their rate plans; they are again where they were, and behind a
    SIM that was not read.

    Raises:
        ListNotUsableError: a record cannot be read, or the list is longer than ``most_pages``.
        SimsMovedError: a page does not begin as the list did, or a SIM is listed twice.
        CarrierError: a page could not be read.
    """
    rate_plans: dict[str, str | None] = {}
    read: list[tuple[str, str | None]] = []
    pages, number, size = 0, 1, page_size
    while True:
        pages += 1
        if pages > most_pages:
            raise ListNotUsableError(
                f"the list of the SIMs modified since {since:%Y-%m-%d %H:%M:%S} UTC has more than "
                f"{several(most_pages, 'page')} and would take more calls than it saves"
            )
        read_at = clock()
        page = client.list_devices_page(modified_since=since, page_number=number, page_size=size)
        listed = [_listed_plan(record, pages, identifier) for record in page.devices]
        common = read[(number - 1) * size :]
        if listed[: len(common)] != common:
            raise SimsMovedError
        for iccid, rate_plan in listed[len(common) :]:
            if iccid in rate_plans:
                raise SimsMovedError
            rate_plans[iccid] = rate_plan
            read.append((iccid, rate_plan))
        if page.is_last_page:
            return ModifiedSims(rate_plans, pages, read_at)
        number, size = overlapping_page(len(read), page_size) if read else (number + 1, size)


def page_size_of_list(family: Family) -> int | None:
    """Return the most SIMs on a page of a family's list of modified SIMs, None if it has no such list."""
    return family.limits.page_size if family.capabilities.modified_list and family.limits is not None else None


def _listed_plan(record: object, page: int, identifier: IdentifierRule) -> tuple[str, str | None]:
    """Return ICCID and rate plan of a listed SIM.

    Raises:
        ListNotUsableError: the record has none.
    """
    iccid = record.get("iccid") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not isinstance(iccid, str) or "ratePlan" not in record:
        raise ListNotUsableError(f"page {page} of the list of modified SIMs has an unreadable record")
    if not identifier.accepts(iccid):
        raise ListNotUsableError(f"page {page} of the list of modified SIMs has an unreadable record")
    return iccid, present_plan(record)


class ListCheck:
    """Which changes of an instance may be written without a read of their own.

    Args:
        connection: the warehouse, autocommit.
        changes: the instance.
        client: client of the provider's account.
        clock: the present time, aware.
    """

    def __init__(
        self, connection: WarehouseConnection, changes: InstanceChanges, client: CountedReads, clock: Clock
    ) -> None:
        self._connection = connection
        self._changes = changes
        self._client = client
        self._clock = clock
        self._family = KNOWN_INTEGRATIONS[changes.integration].api
        self._page_size = page_size_of_list(self._family)
        self._is_decided = False
        self._is_used = False
        self._first_since: datetime | None = None
        self._most_pages = 0
        self._approved = 0
        self._listed_at: datetime | None = None
        self._read_at: datetime | None = None
        self._left = 0
        self._failures = 0
        self._margin = 0

    def prepare(self, batch: list[PlanChange]) -> list[PlanChange]:
        """Read the list if it is due; return the changes to send before this is called again.

        Args:
            batch: the next changes.
        """
        if not self._is_decided:
            self._decide()
        if not self._is_used:
            return batch
        if self._left == 0 or self.is_old():
            self._left = 0
            size = self._read() if len(batch) >= FEWEST_CHANGES else len(batch)
            batch = store.sending.next_batch(
                self._connection, instance_id=self._changes.instance_id, batch_size=min(size, len(batch))
            )
        return batch[: self._left] if self._left else batch

    def may_write(self, change: PlanChange) -> bool:
        """Return True if a change may be written without a read: by a list of just now, the SIM was not modified."""
        return self._left > 0 and not change.is_read_first and not self.is_old()

    def is_over(self) -> bool:
        """Return True if the list is to be read again before a further change."""
        return self._left > 0 and self.is_old()

    def is_old(self) -> bool:
        """Return True if the last list was read too long ago."""
        return self._read_at is None or self._clock() - self._read_at > LONGEST_INTERVAL

    def count(self, changes: int) -> None:
        """Count changes that were handled since the last list."""
        self._left = max(0, self._left - changes)

    def _decide(self) -> None:
        """Choose the cheaper way, once for a process."""
        self._is_decided = True
        device_list = store.sending.device_list(self._connection, instance_id=self._changes.instance_id)
        name, began_at = self._changes.service_provider_name, device_list.began_at
        page_size = self._page_size
        reason: str | None
        if page_size is None:
            reason = f"{self._family.display_name} has no list of modified SIMs"
        else:
            reason = NO_CERTAIN_LIST if began_at is None else reason_to_read_each(device_list, began_at, self._clock())
        if reason is not None or began_at is None or page_size is None:
            log.info("%s: each SIM is read before its change: %s", name, reason)
            return
        left = changes_by_state(self._connection, self._changes.instance_id).get("approved", 0)
        reads = expected_reads(device_list, left, page_size, self._clock() - began_at)
        if device_list.listed_at is None and reads.by_list >= reads.one_by_one:
            log.info(
                "%s: each SIM is read before its change: about %s calls to read %s, and about %s with lists of the "
                "modified SIMs",
                name,
                reads.one_by_one,
                several(left, "SIM"),
                reads.by_list,
            )
            return
        log.info(
            "%s: %s checked by lists of the modified SIMs: about %s calls beside the writes instead of %s",
            name,
            several(left, "change is", "changes are"),
            reads.by_list,
            reads.one_by_one,
        )
        self._is_used = True
        self._first_since, self._listed_at = began_at - FIRST_MARGIN, device_list.listed_at
        self._most_pages, self._approved = reads.most_pages, left
        store.sending.mark_uncertain(
            self._connection, instance_id=self._changes.instance_id, final_statuses=sorted(GONE_STATUSES)
        )

    def _read(self) -> int:
        """Read the list and record what it shows; return how many changes to send next, read or not."""
        instance_id = self._changes.instance_id
        writes = store.sending.recent_writes(self._connection, instance_id=instance_id, batch_size=RECENT_WRITES)
        if not writes:  # the first list proves itself by a change that was read, made and confirmed before
            return 1
        try:
            listed = self._proved(writes)
        except (CarrierRequestError, CarrierUnavailableError, CarrierFormatError, ListNotUsableError) as error:
            self._stop(clean_text(str(error)))
            return BATCH_SIZE
        newest = None if listed is None else newest_shown(list(listed.rate_plans), writes, self._listed_at)
        if listed is None or newest is None:
            self._fail(
                "the list of modified SIMs changed in every reading"
                if listed is None
                else "the list of modified SIMs does not show the changes made before it"
            )
            return BATCH_SIZE
        with self._connection.transaction():
            store.sending.record_modified(
                self._connection,
                instance_id=instance_id,
                iccids=list(listed.rate_plans),
                rate_plans=list(listed.rate_plans.values()),
                now=listed.read_at,
            )
            store.sending.set_listed(self._connection, instance_id=instance_id, listed_at=newest.sent_at, refusal=None)
        # The length of the first list says nothing about the next one, which begins where this one ends.
        self._left = BATCH_SIZE if self._listed_at is None else writes_until_next_list(listed.pages)
        self._listed_at, self._read_at, self._failures = newest.sent_at, listed.read_at, 0
        log.debug("%s: %s SIMs modified", self._changes.service_provider_name, len(listed.rate_plans))
        return BATCH_SIZE

    def _proved(self, writes: list[store.sending.RecentWrite]) -> ModifiedSims | None:
        """Return a list that has every modification since the last one; None if SIMs moved in every reading.

        Raises:
            ListNotUsableError: the list does not show the earlier changes, or cannot be used.
        """
        if self._listed_at is None:
            if self._first_since is None:
                raise ListNotUsableError(NO_CERTAIN_LIST)
            return self._still(self._first_since, self._most_pages)
        for number in range(self._margin, len(MARGINS)):
            listed = self._still(self._listed_at - MARGINS[number], self._approved + SPARE_PAGES)
            if listed is None or covers(list(listed.rate_plans), writes, self._listed_at):
                self._margin = number
                return listed
        raise ListNotUsableError(
            "the list of modified SIMs does not show the changes that an earlier list has shown; the carrier's clock "
            f"may be more than {MARGINS[-1].total_seconds() / 60:.0f} minutes behind"
        )

    def _still(self, since: datetime, most_pages: int) -> ModifiedSims | None:
        """Return the list since a moment, read again if SIMs moved meanwhile; None if they always did.

        Raises:
            ListNotUsableError: the family has no such list, or it cannot be used.
        """
        page_size = self._page_size
        if page_size is None:
            raise ListNotUsableError(f"{self._family.display_name} has no list of modified SIMs")
        for _ in range(MAXIMUM_READINGS):
            try:
                return read_modified(
                    self._client,
                    since=since,
                    most_pages=most_pages,
                    page_size=page_size,
                    identifier=self._family.identifier,
                    clock=self._clock,
                )
            except SimsMovedError:
                continue
        return None

    def _fail(self, reason: str) -> None:
        """Read each SIM of the next changes; use no list any more after several such failures."""
        self._failures += 1
        if self._failures > MAXIMUM_FAILURES:
            self._stop(reason)
        else:
            name = self._changes.service_provider_name
            log.info("%s: %s; each of the next SIMs is read before its change", name, reason)

    def _stop(self, reason: str) -> None:
        """Use no list for the rest of the changes, also in a later process: a failing list must not stop them."""
        self._is_used, self._left = False, 0
        log.warning(
            "%s: each SIM that is left is read before its change: %s", self._changes.service_provider_name, reason
        )
        store.sending.set_listed(
            self._connection, instance_id=self._changes.instance_id, listed_at=None, refusal=reason
        )
