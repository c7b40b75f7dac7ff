"""From the warehouse to the archive: the carrier's answers of one run, in one object."""

from __future__ import annotations

import logging
from datetime import datetime

from amop.carriers.page_archive import ArchivedRun, ArchivePath, write_run
from amop.pipeline.errors import PipelineError
from amop.warehouse import sql
from amop.warehouse.carrier_pages import kept_pages
from amop.warehouse.connection import transaction

log = logging.getLogger(__name__)


def archive_run(conninfo: str, run_id: int, folder: ArchivePath, *, now: datetime) -> int:
    """Write a run's answers to the archive, then delete them from the warehouse; return how many.

    A process that is killed in between leaves both, and the next try writes the same object again. The object of a run
    whose answers have not all arrived is named ``incomplete``; a back-fill does not read it.

    Raises:
        PipelineError: there is no such run, or it received something while it was archived.
        OSError: the folder cannot be written.
    """
    with transaction(conninfo, application_name="amop archive_pages") as connection:
        connection.execute(sql.load("archive/lock_run"), {"run_id": run_id})
        facts = connection.execute(sql.load("archive/run_to_archive"), {"run_id": run_id}).fetchone()
        if facts is None:
            raise PipelineError(f"device_sync_run {run_id} does not exist")
        if not facts["pages"]:
            log.info("%s: run %s has nothing to archive", facts["service_provider_name"], run_id)
            return 0
        run = ArchivedRun(**{name: facts[name] for name in ArchivedRun.__slots__})
        key, count = write_run(folder, run, kept_pages(connection, run_id))
        deleted = connection.execute(sql.load("archive/delete_pages"), {"run_id": run_id}).rowcount
        if deleted != count:
            raise PipelineError(
                f"{run.service_provider_name}: run {run_id} went on while it was archived ({count} answers written, "
                f"{deleted} are there); run the task again"
            )
        if run.is_complete:
            connection.execute(sql.load("archive/mark_archived"), {"run_id": run_id, "now": now})
    log.info("%s: %s answers of the carrier archived as %s/%s", run.service_provider_name, count, folder, key)
    return count
