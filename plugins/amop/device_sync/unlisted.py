"""Read individually the SIMs that are missing from a complete full list: some may exist, missed by the list.

A SIM that is removed at the carrier while the list is read moves those behind it up by one: the first SIM of the next
page is then on the page that was read before, and on none of the others. No count of the list shows that. But one
removal hides one SIM, so that there are few, and the warehouse knows which SIMs are missing: one read of each shows
whether it exists. Those that do are staged as one more page of the list.

The reads are part of ``service_provider.detail_calls_per_run``, and optional: the list is completed without a SIM whose
read is refused or fails while the carrier answers other calls. It stays missing.
"""

from __future__ import annotations

import logging
from typing import Any

from amop.carriers.errors import (
    CarrierError,
    CarrierFormatError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
)
from amop.carriers.page import CarrierPage
from amop.carriers.protocol import CarrierClient, DevicePage
from amop.clock import Clock
from amop.database.connection import WarehouseConnection
from amop.device_sync.rows import ScanPosition
from amop.device_sync.staging import ListedPage, stage_list_page, store_answer
from amop.device_sync.store import reads
from amop.device_sync.validation import FINAL_STATUSES, Rejected, validate_listed_device
from amop.families import IdentifierRule
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import record_progress
from amop.wording import several

log = logging.getLogger(__name__)

CONSECUTIVE_FAILURES = 3
"""After this many consecutive reads without a usable answer no more are made: the API user may not read single SIMs."""

BATCH_SIZE = 50
"""Reads that are committed together: ten seconds at five calls a second."""


def stage_unlisted(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    last_page: int,
    client: CarrierClient,
    clock: Clock,
    *,
    is_resumed: bool,
) -> int:
    """Read the active SIMs that the list does not contain, and stage those that exist; return the run's reads.

    A SIM that the carrier does not know, shows in a final status or does not show at all stays missing, and so does one
    beyond the limit. Those missing for the second time, which would be deactivated, are read first. The reads are
    committed in batches; each SIM is read once in a run.

    Args:
        connection: of the task, without anything uncommitted.
        run: a run with a full list that is exact.
        position: of the scan.
        last_page: number of the list's last page.
        client: of the provider's account.
        clock: the present time, aware.
        is_resumed: this process has read no page of the list. An earlier one may have opened the circuit of the API
            user with a SIM that cannot be read: the next call then probes the carrier, and is a page of the list.

    Raises:
        CarrierError: the carrier is away or refuses the login. The SIMs that were read are not read again.
    """
    unlisted = reads.unlisted_devices(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        maximum_reads=run.detail_calls_per_run,
    )
    connection.commit()  # the reads take a while, and no transaction stays open that long
    if unlisted and is_resumed:
        _require_answer(client, clock)
    reader = _SingleReads(client, run, clock)
    staged = 0
    for first in range(0, len(unlisted), BATCH_SIZE):
        try:
            reader.read(unlisted[first : first + BATCH_SIZE])
        except CarrierError:
            _stage(connection, run, position, last_page + staged + 1, reader, clock)
            raise
        staged += _stage(connection, run, position, last_page + staged + 1, reader, clock)
    count = reads.count_unlisted_reads(connection, run_id=run.id)
    if unlisted:
        log.info(
            "%s: %s not in the full list; %s read individually, %s exist and count as listed",
            run.service_provider_name,
            several(len(unlisted), "SIM is", "SIMs are"),
            reader.count,
            reader.exist,
        )
    return count


class _SingleReads:
    """Reads SIMs one by one while that is of use.

    Args:
        client: of the provider's account.
        run: the run.
        clock: the present time, aware.
    """

    def __init__(self, client: CarrierClient, run: SyncRun, clock: Clock) -> None:
        self._client, self._run, self._clock = client, run, clock
        self._failures = 0
        self._is_over = False
        self._read: list[str] = []
        self._found: list[dict[str, Any]] = []
        self.count = self.exist = 0

    def read(self, iccids: list[str]) -> None:
        """Read SIMs until all are read, or no further one is to be.

        Raises:
            CarrierError: the carrier is away; what was read before can be taken all the same.
        """
        for iccid in iccids:
            if self._is_over:
                return
            document = self._details(iccid)
            self.count += 1
            self._read.append(iccid)
            if document is not None and _is_in_service(document, iccid, self._run.identifier):
                self._found.append(document)
                self.exist += 1

    def take(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the SIMs read since the last time, and the details of those that exist."""
        taken = self._read, self._found
        self._read, self._found = [], []
        return taken

    def _details(self, iccid: str) -> dict[str, Any] | None:
        """Return the details of a SIM, None without a usable answer."""
        try:
            document = self._client.device_details(iccid)
        except CarrierNotFoundError:
            self._failures = 0
            return None
        except (CarrierRequestError, CarrierFormatError) as error:
            self._count_failure(error, is_last=False)
            return None
        except CarrierUnavailableError as error:
            # Its answer closes the circuit again, which the next SIM that cannot be read would open.
            _require_answer(self._client, self._clock)
            self._count_failure(error, is_last=error.retry_at is not None)
            return None
        self._failures = 0
        return document

    def _count_failure(self, error: CarrierError, *, is_last: bool) -> None:
        """Count a failure; ``is_last``: the carrier asks for a pause of such reads."""
        self._failures += 1
        self._is_over = is_last or self._failures >= CONSECUTIVE_FAILURES
        if self._is_over:
            log.warning(
                "%s: no further SIM that is not in the list is read after %s: %s",
                self._run.service_provider_name,
                several(self._failures, "consecutive failure"),
                error,
            )


def _require_answer(client: CarrierClient, clock: Clock) -> None:
    """Read a page of the device list.

    Raises:
        CarrierError: the carrier is away.
    """
    client.list_devices_page(modified_since=clock(), page_number=1)


def _is_in_service(document: dict[str, Any], iccid: str, identifier: IdentifierRule) -> bool:
    """Return True if the details are a usable record of the SIM, which is not in a final status."""
    device = validate_listed_device(document, identifier)
    return not isinstance(device, Rejected) and device.iccid == iccid and device.status not in FINAL_STATUSES


def _stage(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    page_number: int,
    reader: _SingleReads,
    clock: Clock,
) -> int:
    """Stage and commit what was read; return the number of pages that this adds to the list."""
    now = clock()
    read, found = reader.take()
    reads.record_unlisted_reads(connection, run_id=run.id, iccids=read, now=now)
    if found:
        document = {"pageNumber": page_number, "devices": found, "lastPage": True}
        listed = ListedPage(page_number, DevicePage(page_number, found, is_last_page=True, document=document), now)
        stage_list_page(connection, run.id, position.scan_pass, listed, identifier=run.identifier)
        store_answer(connection, run.id, CarrierPage("device_list", now, document, position.scan_pass, page_number))
    record_progress(connection, run.id, pages=0, now=now)
    connection.commit()
    return 1 if found else 0
