"""Read individually the SIMs that are missing from a complete full list: some may exist, missed by the list.

A SIM that is removed at the carrier while the list is read moves those behind it up by one: the first SIM of the next
page is then on the page that was read before, and on none of the others. No count of the list shows that. But one
removal hides one SIM, so that there are few, and the warehouse knows which SIMs are missing: one read of each shows
whether it exists. Those that do are staged as one more page of the list.

The reads are part of ``service_provider.detail_calls_per_run``.
"""

from __future__ import annotations

import logging
from typing import Any

from amop.carriers.errors import CarrierFormatError, CarrierRequestError, CarrierUnavailableError
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
from amop.wording import several

log = logging.getLogger(__name__)

CONSECUTIVE_FAILURES = 3
"""After this many consecutive reads without a usable answer no more are made: the API user may not read single SIMs."""

NOT_FOUND = 404


def stage_unlisted(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    last_page: int,
    client: CarrierClient,
    clock: Clock,
) -> int:
    """Read the active SIMs that the list does not contain, and stage those that exist; return the number of reads.

    A SIM that the carrier does not know, shows in a final status or does not show at all stays missing, and so does one
    beyond the limit. Those missing for the second time, which would be deactivated, are read first.

    Args:
        connection: of the task, without anything uncommitted.
        run: a run with a full list that is exact.
        position: of the scan.
        last_page: number of the list's last page.
        client: of the provider's account.
        clock: the present time, aware.

    Raises:
        CarrierError: the circuit of the API user is open, or its login is refused.
    """
    unlisted = reads.unlisted_devices(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        maximum_reads=run.detail_calls_per_run,
    )
    connection.commit()  # the reads take a while, and no transaction stays open that long
    found: list[dict[str, Any]] = []
    count = failures = 0
    for iccid in unlisted:
        if failures >= CONSECUTIVE_FAILURES:
            log.warning("%s: no further SIM is read after %s consecutive failures", run.service_provider_name, failures)
            break
        count += 1
        try:
            document = client.device_details(iccid)
        except (CarrierRequestError, CarrierUnavailableError, CarrierFormatError) as error:
            if isinstance(error, CarrierUnavailableError) and error.retry_at is not None:
                raise
            is_gone = isinstance(error, CarrierRequestError) and error.status == NOT_FOUND
            failures = 0 if is_gone else failures + 1
            continue
        failures = 0
        if _is_in_service(document, iccid, run.identifier):
            found.append(document)
    if found:
        _stage(connection, run, position, last_page + 1, found, clock)
    if count:
        log.info(
            "%s: %s not in the full list; %s read individually, %s exist and count as listed",
            run.service_provider_name,
            several(len(unlisted), "SIM is", "SIMs are"),
            count,
            len(found),
        )
    return count


def _is_in_service(document: dict[str, Any], iccid: str, identifier: IdentifierRule) -> bool:
    """Return True if the details are a usable record of the SIM, which is not in a final status."""
    device = validate_listed_device(document, identifier)
    return not isinstance(device, Rejected) and device.iccid == iccid and device.status not in FINAL_STATUSES


def _stage(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    page_number: int,
    found: list[dict[str, Any]],
    clock: Clock,
) -> None:
    now = clock()
    document = {"pageNumber": page_number, "devices": found, "lastPage": True}
    listed = ListedPage(page_number, DevicePage(page_number, found, is_last_page=True, document=document), now)
    stage_list_page(connection, run.id, position.scan_pass, listed, identifier=run.identifier)
    store_answer(connection, run.id, CarrierPage("device_list", now, document, position.scan_pass, page_number))
