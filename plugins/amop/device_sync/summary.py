"""Summarize a sync: dates, counts of reads and updates, number of SIMs, and what an operator should check."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from psycopg.types.json import Jsonb

from amop.database.connection import transaction
from amop.device_sync.rows import SyncSummary
from amop.device_sync.store import reports
from amop.device_sync.validation import KNOWN_STATUSES
from amop.runs.sync_runs import running_run


def summarize(conninfo: str, run_id: int) -> SyncSummary:
    """Store the summary of a running run and return it.

    Raises:
        SyncRunEndedError: the run has ended.
    """
    with transaction(conninfo, application_name="amop publish_summary") as connection:
        running_run(connection, run_id)
        summary = reports.sync_summary(connection, run_id=run_id, known_statuses=sorted(KNOWN_STATUSES))
        document = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(summary).items()
        }
        reports.store_summary(connection, run_id=run_id, summary=Jsonb(document))
    return summary
