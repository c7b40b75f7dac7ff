"""The sensor that waits beside a sync until its staging is complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from airflow.sdk import BaseHook, BaseSensorOperator, Context, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent

from amop import ids, time_limits
from amop.database.connection import connect
from amop.device_sync.progress import staging_progress
from amop.device_sync.rows import StagingProgress
from amop.messages.queue_message import DELAY
from amop.runs.errors import SyncRunEndedError
from amop.tasks.connections import conninfo_of, warehouse_conninfo
from amop.tasks.failures import record_failure
from amop.tasks.reopening import is_left_to_do
from amop.tasks.staging_poller import poller_of
from amop.wording import several

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Shortest and longest pause between two polls."""

DAG_TEST_USER = "dag_test"
"""Triggering user of ``airflow dags test`` runs, which execute one task after another in one process."""


ENDED = frozenset({"failed", "refused"})
"""Statuses of a run that has ended without being complete."""

FINISHED_STATES = ["success", "failed", "skipped", "upstream_failed", "removed"]
"""States of a task instance that Airflow does not start any more."""


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """How long a sensor waits for a staging."""

    max_tries: int | None = None
    """The wait fails after this many times `delay`; None = it is limited by progress only."""
    delay: timedelta = DELAY
    no_progress: timedelta | None = time_limits.NO_PROGRESS
    """Longest time without any progress before the sync counts as hung; None = it is limited by tries only."""


@dataclass(frozen=True, slots=True)
class StagingState:
    """State of a run's staging: ``waiting``, ``ready`` or ``failed``, and the reason."""

    name: str
    reason: str


def wait_params(*, max_tries: int | None, no_progress: timedelta | None) -> dict[str, Param]:
    """Return the params of a DAG whose clean-up waits for staging.

    Args:
        max_tries: default of param ``max_tries``.
        no_progress: default of param ``no_progress_limit``.
    """
    return {
        "max_tries": Param(
            max_tries,
            type=["null", "integer"],
            minimum=1,
            maximum=10_000,
            title="Tries of the clean-up",
            description="The clean-up fails after this many delays with work rows left; empty = no limit.",
        ),
        "delay": Param(
            round(DELAY.total_seconds()),
            type="integer",
            minimum=1,
            maximum=3600,
            title="Delay",
            description="Seconds of one try of the clean-up.",
        ),
        "no_progress_limit": Param(
            None if no_progress is None else round(no_progress.total_seconds()),
            type=["null", "integer"],
            minimum=60,
            title="Limit without progress",
            description="The clean-up fails after this many seconds without progress of the sync; empty = no limit.",
        ),
    }


def judge_staging(
    progress: StagingProgress | None, *, run_id: int, limits: WaitLimits, waiting_since: datetime | None = None
) -> StagingState:
    """Return the state of a run's staging.

    Args:
        progress: progress of the run, None if there is no such run.
        run_id: used in messages.
        limits: how long to wait.
        waiting_since: when the tries began; None = they are not limited.
    """
    if progress is None:
        return StagingState("failed", f"device_sync_run {run_id} does not exist")
    if progress.status in ENDED:
        return StagingState("failed", f"the sync of run {run_id} {progress.status}: {progress.error}")
    left = f"{several(progress.work_rows_left, 'work row')} left after {several(progress.pages, 'page')}"
    if progress.work_rows_given_up:
        left += f", {progress.work_rows_given_up} more abandoned by the sync after their retries"
    if is_staged(progress):
        return StagingState("ready", left)
    if limits.no_progress is not None and progress.read_at - progress.progress_at > limits.no_progress:
        return StagingState(
            "failed",
            f"the sync of run {run_id} has made no progress for {limits.no_progress.total_seconds() / 60:.0f} minutes "
            f"({left}); see the logs of its fetch tasks",
        )
    if (
        limits.max_tries is not None
        and waiting_since is not None
        and progress.read_at - waiting_since > limits.max_tries * limits.delay
    ):
        return StagingState(
            "failed",
            f"the staging of run {run_id} is not complete after {several(limits.max_tries, 'try', 'tries')}, "
            f"{several(round(limits.delay.total_seconds()), 'second')} apart ({left}); the rows are left as they are",
        )
    return StagingState("waiting", left)


def is_staged(progress: StagingProgress) -> bool:
    """Return True if the list is complete and no work row is left."""
    return progress.list_is_complete and progress.work_rows_left == 0


def _fetch_has_ended(context: Context) -> bool:
    """Return True if the fetch tasks of the sensor's provider will not run any more."""
    task_instance: Any = context["ti"]
    return bool(
        task_instance.get_ti_count(
            dag_id=context["dag_run"].dag_id,
            run_ids=[context["dag_run"].run_id],
            task_ids=[ids.FETCH_USAGE_TASK],
            map_index=task_instance.map_index,
            states=FINISHED_STATES,
        )
    )


def pause_after(waited: float, first: float) -> float:
    """Return the seconds until the next poll: a tenth of the time waited so far, from ``first`` to a minute.

    A wait of seconds ends within a second, one of hours within a minute; 500 waits of hours cost 8 answers a second.
    """
    return max(first, min(LONGEST_PAUSE_SECONDS, waited / 10))


class StagingReadyTrigger(BaseTrigger):
    """Poll the warehouse from the triggerer, fast at first and slower later: no worker slot is held.

    Args:
        run_id: the run whose staging is waited for.
        connection_id: the warehouse.
        poll_seconds: shortest pause between two polls.
        limit_seconds: `WaitLimits.no_progress`.
        max_tries: `WaitLimits.max_tries`.
        delay_seconds: `WaitLimits.delay`.
        waiting_since: when the tries began, ISO 8601.
    """

    def __init__(
        self,
        run_id: int,
        connection_id: str,
        poll_seconds: float = FIRST_PAUSE_SECONDS,
        limit_seconds: float | None = None,
        max_tries: int | None = None,
        delay_seconds: float = DELAY.total_seconds(),
        waiting_since: str | None = None,
    ) -> None:
        super().__init__()
        self.run_id = run_id
        self.connection_id = connection_id
        self.poll_seconds = poll_seconds
        self.limit_seconds = limit_seconds
        self.max_tries = max_tries
        self.delay_seconds = delay_seconds
        self.waiting_since = waiting_since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments that the triggerer rebuilds this trigger from."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "run_id": self.run_id,
                "connection_id": self.connection_id,
                "poll_seconds": self.poll_seconds,
                "limit_seconds": self.limit_seconds,
                "max_tries": self.max_tries,
                "delay_seconds": self.delay_seconds,
                "waiting_since": self.waiting_since,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the staging is ready or the sync has failed; wait while the database is unreachable."""
        conninfo = conninfo_of(await BaseHook.aget_connection(self.connection_id))
        begun = asyncio.get_running_loop().time()
        while True:
            try:
                state = await self._poll(conninfo)
            except psycopg.OperationalError as error:
                log.warning("The warehouse cannot be reached, polling again: %s", type(error).__name__)
            else:
                if state.name != "waiting":
                    yield TriggerEvent({"state": state.name, "reason": state.reason})
                    return
            await asyncio.sleep(pause_after(asyncio.get_running_loop().time() - begun, self.poll_seconds))

    async def _poll(self, conninfo: str) -> StagingState:
        limits = WaitLimits(
            self.max_tries,
            timedelta(seconds=self.delay_seconds),
            None if self.limit_seconds is None else timedelta(seconds=self.limit_seconds),
        )
        return judge_staging(
            await poller_of(conninfo).progress(self.run_id),
            run_id=self.run_id,
            limits=limits,
            waiting_since=None if self.waiting_since is None else datetime.fromisoformat(self.waiting_since),
        )


class StagingReadySensor(BaseSensorOperator):
    """Wait until the list of a sync run is complete and none of its work rows is left.

    Deferrable where ``[operators] default_deferrable`` is true. Elsewhere, and in ``airflow dags test``, it reschedules
    itself, so that it never blocks the sync that it waits for.

    Args:
        run: the provider's run from ``select_providers``.
        no_progress_limit: default of the DAG run's param of this name.
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
        """Resume the run if an operator cleared this task; then defer to the trigger, or poke and reschedule.

        Raises:
            AirflowFailException: the sync failed, was refused, or hangs.
        """
        if not self._resume_run(context):
            return
        dag_run = context["dag_run"]
        if not self.deferrable or dag_run.triggering_user_name == DAG_TEST_USER:
            with self._recorded_timeout():
                super().execute(context)
            return
        if not self.poke(context):
            limits, since = self._limits(context), _waiting_since(context)
            self.defer(
                trigger=StagingReadyTrigger(
                    run_id=self.run["run_id"],
                    connection_id=ids.WAREHOUSE_CONNECTION,
                    limit_seconds=None if limits.no_progress is None else limits.no_progress.total_seconds(),
                    max_tries=limits.max_tries,
                    delay_seconds=limits.delay.total_seconds(),
                    waiting_since=None if since is None else since.isoformat(),
                ),
                method_name="resume",
                timeout=timedelta(seconds=self.timeout),
            )

    def _resume_run(self, context: Context) -> bool:
        """Resume the run of a sensor that an operator cleared; return False if the run is complete.

        An ended run whose staging is not complete is resumed only if its fetch tasks run again: clearing one provider
        with downstream clears the sensors of all.
        """
        run_id = self.run["run_id"]
        with connect(warehouse_conninfo(), application_name="amop wait_for_staging") as connection:
            progress = staging_progress(connection, run_id)
        if progress is not None and progress.status in ENDED and not is_staged(progress) and _fetch_has_ended(context):
            raise AirflowFailException(
                f"{self.run['service_provider_name']}: the sync of run {run_id} {progress.status}: {progress.error}. "
                f"To resume it, clear its failed fetch task with downstream tasks (`bin/amop runs resume {run_id}`)"
            )
        try:
            return is_left_to_do(run_id, context)
        except SyncRunEndedError as error:
            raise AirflowFailException(str(error)) from None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger's event or time-out; see `BaseSensorOperator`."""
        with self._recorded_timeout():
            return super().resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Context) -> bool:
        """Query the warehouse once; return True when the staging is ready."""
        run_id = self.run["run_id"]
        with connect(warehouse_conninfo(), application_name="amop wait_for_staging") as connection:
            progress = staging_progress(connection, run_id)
        state = judge_staging(
            progress, run_id=run_id, limits=self._limits(context), waiting_since=_waiting_since(context)
        )
        if state.name == "failed":
            self._fail(state.reason)
        log.info("Staging of run %s is %s: %s", run_id, state.name, state.reason)
        return state.name == "ready"

    def resume(self, context: Context, event: dict[str, str]) -> None:
        """Resume after the trigger's event.

        Raises:
            AirflowFailException: the sync failed, was refused, or hangs.
        """
        if event["state"] != "ready":
            self._fail(event["reason"])
        log.info("Staging of run %s is ready: %s", self.run["run_id"], event["reason"])

    def _limits(self, context: Context) -> WaitLimits:
        """Return the limits of the run's queue message, else those of the DAG run's params, else the defaults."""
        given = dict(context.get("params") or {}) | dict(self.run.get("wait") or {})
        limit = given.get("no_progress_limit", self.no_progress_limit.total_seconds())
        return WaitLimits(
            given.get("max_tries"),
            timedelta(seconds=given.get("delay", DELAY.total_seconds())),
            None if limit is None else timedelta(seconds=limit),
        )

    @contextmanager
    def _recorded_timeout(self) -> Iterator[None]:
        """End the run when the sensor's own time is over: nothing else waits for it any more."""
        try:
            yield
        except AirflowSensorTimeout:
            self._fail(
                f"the staging of run {self.run['run_id']} is not complete after {self.timeout / 3600:.0f} hours of "
                "waiting; see the logs of its fetch tasks"
            )

    def _fail(self, reason: str) -> None:
        record_failure(SyncRunEndedError(reason), sync_run_id=self.run["run_id"])
        raise AirflowFailException(f"{self.run['service_provider_name']}: {reason}")


def _waiting_since(context: Context) -> datetime | None:
    """Return when the sensor began to wait: the tries count from there, however often Airflow is restarted.

    A sensor that an operator clears waits anew, whether its DAG run still runs or not.
    """
    task_instance: Any = context.get("ti")
    if task_instance is None:
        return None
    first = task_instance.get_first_reschedule_date(context) if context.get("task_reschedule_count") else None
    return first or getattr(task_instance, "start_date", None)
