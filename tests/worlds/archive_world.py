"""Sync and replay days of a provider for tests, with the archive in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from amop.archive.archive_run import archive_run
from amop.archive.replay import Replayed, ReplayRequest, replay_day
from amop.device_sync import fetch
from sandbox.carrier.account import ListLimit
from sandbox.carrier.running import running_carrier
from tests.worlds.sync_world import JASPER, SyncWorld

TIME_ZONE = "America/New_York"
HISTORY = """
SELECT device.iccid, history.valid_from, history.status, history.rate_plan, history.communication_plan
FROM amop.device_history AS history INNER JOIN amop.device AS device ON history.device_id = device.id
ORDER BY 1, 2
"""
USAGE = """
SELECT
    device.iccid, daily.usage_date, period.bill_month, daily.data_usage, daily.sms_usage, daily.voice_usage,
    daily.ctd_data_usage, daily.ctd_sms_usage, daily.ctd_voice_usage
FROM amop.device_usage AS daily
INNER JOIN amop.device AS device ON daily.device_id = device.id
INNER JOIN amop.billing_period AS period ON daily.billing_period_id = period.id
ORDER BY 1, 2, 3
"""


def fourth_hour(day: date) -> datetime:
    """Return the logical date of the Jasper sync of a day: 04:00 UTC."""
    return datetime(day.year, day.month, day.day, 4, tzinfo=UTC)


class ArchiveWorld(SyncWorld):
    """A provider whose days are synced live at a given moment, archived, and replayed."""

    def __init__(self, dsn: str, carrier: Any, folder: Path) -> None:
        super().__init__(dsn, carrier)
        self.archive: Any = folder / "archive"

    def stage_at(self, moment: datetime, **request: Any) -> int:
        """Open a run at a moment and stage all of it; return its id."""
        run_id = self.open(f"live {moment.isoformat()}", now=moment, **request)
        fetch.queue_sync(self.dsn, run_id)
        with self.client() as client:
            fetch.fetch_devices(self.dsn, run_id, client, clock=lambda: moment)
            fetch.fetch_usage(self.dsn, run_id, client, clock=lambda: moment)
        return run_id

    def live(self, moment: datetime, *, merges: bool = True, **request: Any) -> int:
        """Sync at a moment, archive the carrier's answers and merge them; return the run's id."""
        run_id = self.stage_at(moment, **request)
        archive_run(self.dsn, run_id, self.archive, now=moment)
        if merges:
            self.merge(run_id, now=moment)
        else:
            self.rows(
                "UPDATE amop.device_sync_run SET status = 'failed', error = 'x' WHERE id = %s RETURNING id", run_id
            )
        return run_id

    def replay(self, day: date, *, notifies_amop: bool = False, dag_run_id: str | None = None) -> list[Replayed]:
        """Do what the back-fill run of a day does."""
        start = fourth_hour(day)
        request = ReplayRequest(
            "jasper",
            "device_sync_jasper",
            dag_run_id or f"backfill__{start.isoformat()}",
            JASPER,
            TIME_ZONE,
            start,
            start + timedelta(days=1),
            notifies_amop,
        )
        return replay_day(self.dsn, self.archive, request)

    def history(self) -> list[dict[str, Any]]:
        """Return every row of the device history."""
        return self.rows(HISTORY)

    def usage(self) -> list[dict[str, Any]]:
        """Return every row of the daily usage."""
        return self.rows(USAGE)

    def usage_of(self, iccid: str) -> dict[int, int]:
        """Return the bytes of one SIM by day of the month."""
        return {row["usage_date"].day: row["data_usage"] for row in self.usage() if row["iccid"] == iccid}

    def plans_of(self, iccid: str, *days: date) -> list[str | None]:
        """Return the rate plan of one SIM in history on each day."""
        rows = [row for row in self.history() if row["iccid"] == iccid]
        return [[row["rate_plan"] for row in rows if row["valid_from"] <= day][-1] for day in days]

    def delete_history(self) -> None:
        """Empty both history tables."""
        self.rows("WITH gone AS (DELETE FROM amop.device_usage) DELETE FROM amop.device_history RETURNING device_id")


@contextmanager
def archive_world(
    dsn: str, folder: Path, *, as_of: datetime, sims: int, list_limit: ListLimit = ListLimit.NONE
) -> Iterator[ArchiveWorld]:
    """Yield a world whose carrier has its fleet as of a moment."""
    with running_carrier(
        devices_per_account=sims, accounts=("jasper",), limits_are_enforced=False, as_of=as_of, list_limit=list_limit
    ) as carrier:
        yield ArchiveWorld(dsn, carrier, folder)
