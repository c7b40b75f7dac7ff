"""Sync one account from a carrier into `amop.device`, and print what it cost as one line of JSON.

A process of its own, so that its memory and its seconds of CPU are those of a worker of this package. Only the device
list is read, because that is what the peers of `bench.peers` load.

python -m bench.sync_process CONNINFO http://127.0.0.1:8010 first --calls-per-second 1000
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer

from amop.carriers.account import HIGHEST_CALLS_PER_SECOND
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.device_sync import fetch
from amop.device_sync.merge import merge_devices
from amop.runs.opening import SyncRequest, open_runs
from bench.account import account_of, peak_megabytes

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
INTEGRATION = "jasper"


@dataclass(frozen=True, slots=True)
class SyncCost:
    """What one sync of a device list cost."""

    sims: int
    rows_changed: int
    staging_seconds: float
    merge_seconds: float
    cpu_seconds: float
    """Of this process alone."""
    peak_megabytes: float
    start_megabytes: float
    """Before the first call, with everything imported."""
    staging_wal_bytes: int
    merge_wal_bytes: int

    @property
    def seconds(self) -> float:
        """From the first call to the committed merge."""
        return self.staging_seconds + self.merge_seconds


def main(
    conninfo: Annotated[str, typer.Argument(help="Migrated warehouse with one provider.")],
    base_url: Annotated[str, typer.Argument(help="Address of the carrier.")],
    name: Annotated[str, typer.Argument(help="Id of the run.")],
    calls_per_second: Annotated[float, typer.Option(help="Limit that the gate keeps.")] = HIGHEST_CALLS_PER_SECOND,
) -> None:
    """Run the sync and print its cost."""
    request = SyncRequest(INTEGRATION, "device_sync_jasper", name, optimization="never", full_sync=True)
    run_id = open_runs(conninfo, request, now=NOW)[0].run_id
    fetch.queue_sync(conninfo, run_id)
    account = account_of(base_url, calls_per_second)
    gate = PostgresCallGate(conninfo, account.gate_key, account.calls_per_second)
    start, positions = peak_megabytes(), [_wal(conninfo)]
    moments, processor = [time.perf_counter()], time.process_time()
    with ControlCenterClient(account, gate) as client:
        sims = fetch.fetch_devices(conninfo, run_id, client)
    moments.append(time.perf_counter())
    _drop_usage_reads(conninfo, run_id)
    positions.append(_wal(conninfo))
    begun = time.perf_counter()
    counts = merge_devices(conninfo, run_id, now=NOW)
    moments.append(time.perf_counter())
    cost = SyncCost(
        sims=sims,
        rows_changed=counts.devices_inserted + counts.devices_updated + counts.devices_vanished,
        staging_seconds=moments[1] - moments[0],
        merge_seconds=moments[2] - begun,
        cpu_seconds=time.process_time() - processor,
        peak_megabytes=peak_megabytes(),
        start_megabytes=start,
        staging_wal_bytes=positions[1] - positions[0],
        merge_wal_bytes=_wal(conninfo) - positions[1],
    )
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE amop.device_sync_run SET status = 'complete', ended_at = now() WHERE id = %s", [run_id]
        )
    print(json.dumps(asdict(cost)))


def _drop_usage_reads(conninfo: str, run_id: int) -> None:
    """Delete the work rows of usage and details: the peers do not load them either."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM amop.device_usage_to_process WHERE run_id = %s", [run_id])


def _wal(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    typer.run(main)
