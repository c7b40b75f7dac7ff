"""The progress of staging, by the count rule of each run's carrier family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.device_sync.rows import StagingProgress
from amop.device_sync.store import reads
from amop.families import count_rules


def staging_progress(connection: WarehouseConnection, run_id: int) -> StagingProgress | None:
    """Return the progress of a run's staging, None if there is no such run."""
    found = reads.staging_progress(connection, run_ids=[run_id], count_rules=Jsonb(count_rules()))
    return found[0] if found else None


async def staging_progress_of_runs(
    connection: AsyncConnection[Any], run_ids: Sequence[int]
) -> dict[int, StagingProgress]:
    """Return the progress of the staging of runs by run id, in one query; a run that does not exist is excluded."""
    rules = Jsonb(count_rules())
    found = await reads.staging_progress.run_async(connection, run_ids=list(run_ids), count_rules=rules)
    return {progress.run_id: progress for progress in found}
