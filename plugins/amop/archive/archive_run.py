"""Write the carrier's answers of one run from the warehouse to one object of the archive."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from datetime import datetime

from amop.archive import store
from amop.archive.page_archive import ArchivePath, write_run
from amop.carriers.page import CarrierPage
from amop.database.connection import WarehouseConnection, transaction
from amop.runs.errors import PipelineError

log = logging.getLogger(__name__)


def archive_run(conninfo: str, run_id: int, folder: ArchivePath, *, only_complete: bool = False, now: datetime) -> int:
    """Write a run's answers to the archive, then delete them from the warehouse; return their number.

    If the process is killed in between, both exist and the next try writes the same object again. The object of a run
    whose answers have not all arrived is named ``incomplete``; a back-fill does not read it.

    Args:
        conninfo: libpq connection string of the warehouse.
        run_id: the run.
        folder: the archive.
        only_complete: keep the answers of a run that have not all arrived: it may still be resumed.
        now: the moment, aware.

    Raises:
        PipelineError: there is no such run, or it received something while it was archived.
        OSError: the folder cannot be written.
    """
    with transaction(conninfo, application_name="amop archive_pages") as connection:
        store.lock_archive_of_run(connection, run_id=run_id)
        run = store.run_to_archive(connection, run_id=run_id)
        if run is None:
            raise PipelineError(f"device_sync_run {run_id} does not exist")
        if not store.has_carrier_pages(connection, run_id=run_id):
            log.info("%s: run %s has nothing to archive", run.service_provider_name, run_id)
            return 0
        if only_complete and not run.is_complete:
            log.info(
                "%s: run %s is not archived yet: its answers have not all arrived", run.service_provider_name, run_id
            )
            return 0
        key, count = write_run(folder, run, _stored_pages(connection, run_id))
        deleted = store.delete_carrier_pages(connection, run_id=run_id)
        if deleted != count:
            raise PipelineError(
                f"{run.service_provider_name}: run {run_id} received answers while it was archived ({count} written, "
                f"{deleted} stored); run the task again"
            )
        if run.is_complete:
            store.mark_archived(connection, run_id=run_id, now=now)
    log.info("%s: %s answers of the carrier archived as %s/%s", run.service_provider_name, count, folder, key)
    return count


def _stored_pages(connection: WarehouseConnection, run_id: int) -> Iterator[CarrierPage]:
    """Yield the answers of a run in order, streamed in the caller's transaction."""
    for page in store.carrier_pages(connection, run_id=run_id):
        yield CarrierPage(
            kind=page.kind,
            received_at=page.received_at,
            document=json.loads(gzip.decompress(page.document)),
            scan_pass=page.scan_pass,
            page_number=page.page_number,
            rate_plan_code=page.rate_plan_code,
            rate_plan_version=page.rate_plan_version,
            usage_type=page.usage_type,
            iccid=page.iccid,
            is_refusal=page.is_refusal,
        )
