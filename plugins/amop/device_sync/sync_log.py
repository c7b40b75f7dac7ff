"""Write the sync log file: raw usage from the carrier and current usage in the device table, one line per SIM."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amop.database.connection import connect
from amop.device_sync.store import reports


def sync_log_key(integration: str, service_provider_id: int, run_id: int) -> str:
    """Return the object key of a run's sync log; it is different for every provider of a family."""
    return f"device_sync/{integration}/{service_provider_id}/sync_log_{run_id}.csv"


@contextmanager
def write_sync_log(conninfo: str, run_id: int) -> Iterator[str]:
    """Stream the sync log of a run into a temporary CSV file; yield its path and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="amop_sync_log_") as folder:
        path = Path(folder) / "sync_log.csv"
        with connect(conninfo, application_name="amop sync_log") as connection, path.open("wb") as target:
            for block in reports.copy_sync_log(connection, run_id):
                target.write(block)
        yield str(path)
