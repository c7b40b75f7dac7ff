"""Stage several pages of a device list in one transaction, while the carrier is fast.

A commit for each page costs more than the call where a carrier answers within milliseconds. So the pages of a moment
are committed together, and while they are written the next ones are read. A carrier at the vendor's limit of five calls
a second is never fast in this sense: each of its pages is committed when it has been received.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from math import inf

from amop.carriers.errors import CarrierEmptyPageError
from amop.carriers.protocol import CarrierClient, DevicePage
from amop.clock import Clock
from amop.database.connection import WarehouseConnection
from amop.device_sync.list_guards import CHECKED_PAGES, check_list_paging
from amop.device_sync.rows import ListWindow, ScanPosition
from amop.device_sync.staging import ListedPage, stage_list_pages
from amop.log_lines import is_milestone
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import record_progress

log = logging.getLogger(__name__)


FAST_PAGES = 20
"""Consecutive pages that must have been fast: a short list gains nothing, and is committed page by page."""
FAST_SECONDS = 0.05
"""A page within this time is fast, waiting for the rate limit included."""

LONGEST_BATCH = timedelta(seconds=0.08)
"""Pages that are read within this time are committed together. A killed process has to read again the pages that it was
writing and those that it had read meanwhile: twice as long."""
LARGEST_BATCH = 5_000
"""SIMs of one transaction, so that memory does not depend on the size of a page."""


class CarrierSpeed:
    """Whether a carrier has answered fast in this process, for long enough and until now."""

    def __init__(self) -> None:
        self._fast_pages = 0

    @property
    def is_fast(self) -> bool:
        """True after enough consecutive fast pages."""
        return self._fast_pages >= FAST_PAGES

    def observe(self, seconds: float) -> None:
        """Count a page that took this long; a slow one begins the count anew."""
        self._fast_pages = self._fast_pages + 1 if seconds <= FAST_SECONDS else 0


def request_page(client: CarrierClient, window: ListWindow, number: int, after: str | None = None) -> DevicePage:
    """Return a page of a window; ``after`` is ``next_after`` of the page before."""
    return client.list_devices_page(
        modified_since=window.modified_since, modified_till=window.modified_till, page_number=number, after=after
    )


def stage_fast_pages(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    window: ListWindow,
    client: CarrierClient,
    clock: Clock,
    speed: CarrierSpeed,
) -> None:
    """Stage and commit the next pages of the last window, batch by batch, until the carrier is slow or the list ends.

    If the carrier fails meanwhile, the pages before are committed and the error is raised. A page that stays empty is
    left to the caller, which reads it again separately. The connection belongs to this function until it returns.
    """
    reader = _BatchReader(position, window, client, clock, speed)
    with ThreadPoolExecutor(1, thread_name_prefix="amop staging") as writer:
        written: Future[None] | None = None
        try:
            while not reader.is_at_end:
                try:
                    reader.read()
                finally:
                    # In the order of the pages: a batch is written when the one before it is committed.
                    if written is not None:
                        written.result()
                    batch = reader.take()
                    written = writer.submit(_stage, connection, run, position.scan_pass, batch) if batch else None
        finally:
            if written is not None:  # its error must not be lost behind one of the carrier
                written.result()


class _BatchReader:
    """Reads the next pages of a window, batch by batch."""

    def __init__(
        self, position: ScanPosition, window: ListWindow, client: CarrierClient, clock: Clock, speed: CarrierSpeed
    ) -> None:
        self._window, self._client, self._clock, self._speed = window, client, clock, speed
        self._next_page, self._next_after = position.next_page, position.next_after
        self._listed: list[ListedPage] = []
        self.is_at_end = False
        """True when the list has ended, the carrier is slow, or a page stays empty."""

    def take(self) -> list[ListedPage]:
        """Return the pages that have been read since the last time."""
        listed, self._listed = self._listed, []
        return listed

    def read(self) -> None:
        """Read one batch.

        Raises:
            CarrierError: the pages before can be taken all the same.
        """
        begin = self._clock()
        try:
            with self._client.consecutive_calls():
                while not self.is_at_end and _has_room(self._listed, self._clock() - begin):
                    self._read_page()
        except CarrierEmptyPageError:
            self._speed.observe(inf)
            self.is_at_end = True

    def _read_page(self) -> None:
        began, number = self._clock(), self._next_page
        page = request_page(self._client, self._window, number - (self._window.first_page or 1) + 1, self._next_after)
        received = self._clock()
        self._speed.observe((received - began).total_seconds())
        self._listed.append(ListedPage(number, page, received))
        self._next_page, self._next_after = number + 1, page.next_after
        self.is_at_end = page.is_last_page or not self._speed.is_fast


def _has_room(listed: list[ListedPage], spent: timedelta) -> bool:
    """Return True if one more page may belong to the same transaction."""
    if not listed:
        return True
    is_end = listed[-1].page.is_last_page or listed[-1].page_number in CHECKED_PAGES
    count = sum(len(each.page.devices) for each in listed)
    return not is_end and spent < LONGEST_BATCH and count < LARGEST_BATCH


def _stage(connection: WarehouseConnection, run: SyncRun, scan_pass: int, listed: list[ListedPage]) -> None:
    last = listed[-1]
    stage_list_pages(connection, run.id, scan_pass, listed, identifier=run.identifier)
    record_progress(connection, run.id, pages=len(listed), now=last.received_at)
    if not last.page.is_last_page:
        check_list_paging(connection, run, scan_pass, last.page_number)
    connection.commit()
    if last.page.is_last_page or any(is_milestone(each.page_number) for each in listed):
        log.info("%s: staging page %s of the device list", run.service_provider_name, last.page_number)
