"""The sync log file: what the carrier said and what the device table holds, one line per SIM."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.sql import SQL, Composed, Literal

from amop.warehouse import sql
from amop.warehouse.connection import connect


def sync_log_key(integration: str, service_provider_id: int, run_id: int) -> str:
    """Return the object key of a run's sync log; providers of one family never overwrite each other."""
    return f"device_sync/{integration}/{service_provider_id}/sync_log_{run_id}.csv"


@contextmanager
def write_sync_log(conninfo: str, run_id: int) -> Iterator[str]:
    """Stream the sync log of a run into a temporary CSV file; yield its path and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="amop_sync_log_") as folder:
        path = Path(folder) / "sync_log.csv"
        with (
            connect(conninfo, application_name="amop sync_log") as connection,
            path.open("wb") as target,
            connection.cursor() as cursor,
            cursor.copy(_copy_statement(run_id)) as copy,
        ):
            for block in copy:
                target.write(block)
        yield str(path)


def _copy_statement(run_id: int) -> Composed:
    """Return COPY around the report's statement; COPY takes no parameters, so the run's id becomes a literal."""
    before, *after = sql.load("reports/sync_log").split("%(run_id)s")
    query: Composed = SQL(before) + Composed([])  # type: ignore[arg-type]
    for part in after:
        query = query + Literal(run_id) + SQL(part)  # type: ignore[arg-type]
    return SQL("COPY (") + query + SQL(") TO STDOUT (FORMAT csv, HEADER true)")
