"""Write the files of a sync, one line per SIM: the sync log, and the device history file of the historian.

The sync log has the raw usage from the carrier and the current usage in the device table. The device history file has
the state of each SIM; the historian of AMOP reads it for every portal but Mobility.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

from amop.config import MOBILITY
from amop.database.connection import WarehouseConnection, connect
from amop.device_sync.store import reports
from amop.runs.store.sync_runs import SyncRun


def sync_log_key(integration: str, service_provider_id: int, run_id: int) -> str:
    """Return the object key of a run's sync log; it is different for every provider of a family."""
    return f"device_sync/{integration}/{service_provider_id}/sync_log_{run_id}.csv"


def historian_key(run: SyncRun) -> str | None:
    """Return the object key of a run's device history file, None for the Mobility portal, which has none.

    Its name is that of the replaced system, ``DeviceHistory_<provider>_<time>.csv``; the time is the run's start, UTC.
    """
    if run.portal_type_id == MOBILITY:
        return None
    provider = re.sub(r"[^A-Za-z0-9.-]+", "_", run.service_provider_name).strip("_") or "provider"
    name = f"DeviceHistory_{provider}_{run.started_at.astimezone(UTC):%Y%m%d%H%M%S}.csv"
    return f"device_history/{run.integration}/{run.service_provider_id}/{name}"


@contextmanager
def write_historian_file(conninfo: str, run_id: int) -> Iterator[str]:
    """Stream the device history file of a run into a temporary CSV file; yield its path and remove it afterwards."""
    with _written(conninfo, run_id, "device_history", reports.copy_historian_lines) as path:
        yield path


@contextmanager
def write_sync_log(conninfo: str, run_id: int) -> Iterator[str]:
    """Stream the sync log of a run into a temporary CSV file; yield its path and remove it afterwards."""
    with _written(conninfo, run_id, "sync_log", reports.copy_sync_log) as path:
        yield path


@contextmanager
def _written(
    conninfo: str, run_id: int, name: str, copy: Callable[[WarehouseConnection, int], Iterator[reports.CopyBlock]]
) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix=f"amop_{name}_") as folder:
        path = Path(folder) / f"{name}.csv"
        with connect(conninfo, application_name=f"amop {name}") as connection, path.open("wb") as target:
            for block in copy(connection, run_id):
                target.write(block)
        yield str(path)
