"""The sensor that waits beside a sync until its staging is complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from airflow.sdk import BaseHook, BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent
from psycopg.rows import dict_row

from amop import time_limits
from amop.orchestration.connections import conninfo_of, warehouse_conninfo
from amop.orchestration.failures import record_failure
from amop.pipeline.errors import SyncRunEndedError
from amop.warehouse import sql
from amop.warehouse.connection import connect, session_settings

log = logging.getLogger(__name__)

DAG_TEST_USER = "dag_test"
"""Who triggers the runs of ``airflow dags test``, which executes one task after another in one process."""


@dataclass(frozen=True, slots=True)
class StagingState:
    """What the sensor saw: ``waiting``, ``ready`` or ``failed``, and why."""

    name: str
    reason: str


def judge_staging(progress: dict[str, Any] | None, *, run_id: int, limit: timedelta, now: datetime) -> StagingState:
    """Judge a row of ``sync/staging_progress``: pure, so that every outcome can be tested.

    Args:
        progress: the row, None when there is no such run.
        run_id: for the messages.
        limit: longest time without any progress.
        now: the present time, aware.
    """
    if progress is None:
        return StagingState("failed", f"device_sync_run {run_id} does not exist")
    if progress["status"] in {"failed", "refused"}:
        return StagingState("failed", f"the sync of run {run_id} {progress['status']}: {progress['error']}")
    left = f"{progress['work_rows_left']} work rows left after {progress['pages']} pages"
    if progress["list_is_complete"] and progress["work_rows_left"] == 0:
        return StagingState("ready", left)
    if now - progress["progress_at"] > limit:
        return StagingState(
            "failed",
            f"the sync of run {run_id} has made no progress for {limit.total_seconds() / 60:.0f} minutes ({left}); "
            "look at the log of its fetch tasks",
        )
    return StagingState("waiting", left)


class StagingReadyTrigger(BaseTrigger):
    """Look at the warehouse every few seconds, from the triggerer: no worker slot is held."""

    def __init__(self, run_id: int, connection_id: str, poll_seconds: float, limit_seconds: float) -> None:
        super().__init__()
        self.run_id = run_id
        self.connection_id = connection_id
        self.poll_seconds = poll_seconds
        self.limit_seconds = limit_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments that the triggerer rebuilds this trigger from."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "run_id": self.run_id,
                "connection_id": self.connection_id,
                "poll_seconds": self.poll_seconds,
                "limit_seconds": self.limit_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the staging is ready or the sync has failed; a lost database is only waited for."""
        conninfo = conninfo_of(await BaseHook.aget_connection(self.connection_id))
        while True:
            try:
                state = await self._look(conninfo)
            except psycopg.OperationalError as error:
                log.warning("The warehouse cannot be reached, looking again: %s", type(error).__name__)
            else:
                if state.name != "waiting":
                    yield TriggerEvent({"state": state.name, "reason": state.reason})
                    return
            await asyncio.sleep(self.poll_seconds)

    async def _look(self, conninfo: str) -> StagingState:
        async with await psycopg.AsyncConnection.connect(
            conninfo,
            row_factory=dict_row,
            autocommit=True,
            **session_settings(conninfo, application_name="amop wait_for_staging", statement=time_limits.LOOK),
        ) as connection:
            cursor = await connection.execute(sql.load("sync/staging_progress"), {"run_id": self.run_id})
            progress = await cursor.fetchone()
        return judge_staging(
            progress, run_id=self.run_id, limit=timedelta(seconds=self.limit_seconds), now=datetime.now(UTC)
        )


class StagingReadySensor(BaseSensorOperator):
    """Wait until the list of a sync run is complete and none of its work rows is left.

    Deferrable where ``[operators] default_deferrable`` is true; elsewhere, and in ``airflow dags test``, it
    reschedules itself, so that it never blocks the sync that it waits for.

    Args:
        run: the provider's run as ``select_providers`` gave it; ``run["run_id"]`` is used.
        no_progress_limit: longest time without any progress before the sync counts as hung.
        deferrable: wait in the triggerer.
    """

    template_fields = ("run",)

    def __init__(
        self,
        *,
        run: Any,
        no_progress_limit: timedelta = time_limits.NO_PROGRESS,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self.run = run
        self.no_progress_limit = no_progress_limit
        self.deferrable = deferrable

    def execute(self, context: Context) -> None:
        """Defer to the trigger, or poke and reschedule.

        Raises:
            AirflowFailException: the sync failed, was refused, or hangs.
        """
        dag_run = context["dag_run"]
        if not self.deferrable or dag_run.triggering_user_name == DAG_TEST_USER:
            super().execute(context)
            return
        if not self.poke(context):
            self.defer(
                trigger=StagingReadyTrigger(
                    run_id=self.run["run_id"],
                    connection_id="amop_warehouse",
                    poll_seconds=self.poke_interval,
                    limit_seconds=self.no_progress_limit.total_seconds(),
                ),
                method_name="resume",
                timeout=timedelta(seconds=self.timeout),
            )

    def poke(self, context: Context) -> bool:
        """Look once; True when the staging is ready."""
        run_id = self.run["run_id"]
        with connect(warehouse_conninfo(), application_name="amop wait_for_staging") as connection:
            progress = connection.execute(sql.load("sync/staging_progress"), {"run_id": run_id}).fetchone()
        state = judge_staging(progress, run_id=run_id, limit=self.no_progress_limit, now=datetime.now(UTC))
        if state.name == "failed":
            self._fail(state.reason)
        log.info("Staging of run %s is %s: %s", run_id, state.name, state.reason)
        return state.name == "ready"

    def resume(self, context: Context, event: dict[str, str]) -> None:
        """Go on after the trigger's event.

        Raises:
            AirflowFailException: the sync failed, was refused, or hangs.
        """
        if event["state"] != "ready":
            self._fail(event["reason"])
        log.info("Staging of run %s is ready: %s", self.run["run_id"], event["reason"])

    def _fail(self, reason: str) -> None:
        record_failure(SyncRunEndedError(reason), sync_run_id=self.run["run_id"])
        raise AirflowFailException(f"{self.run['service_provider_name']}: {reason}")
