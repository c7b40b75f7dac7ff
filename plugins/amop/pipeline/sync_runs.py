"""Opening and ending the device sync runs: one per provider at a time, each with its own ledger."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from amop import time_limits
from amop.pipeline.due_sessions import session_is_due, sessions_of_day
from amop.pipeline.errors import PipelineError, SyncRunEndedError
from amop.warehouse import sql
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.sessions import SessionAlreadyRunningError, fail_session, open_session

log = logging.getLogger(__name__)

FULL_SYNC_EVERY = timedelta(days=6, hours=12)
"""A daily run whose last exact full list is older than this reads the full list: at least every seventh day."""

OVERLAP = timedelta(days=1)
"""An incremental list begins this long before the start of the last complete run."""

TRIAL_RUN_PREFIX = "__airflow_temporary_run_"
"""Run ids of ``airflow tasks test``: nothing follows such a task, so that the next run takes its provider over."""


class SyncBusyError(RuntimeError):
    """Another process reads the same run from the carrier; trying again later is all there is to do."""


@dataclass(frozen=True, slots=True)
class ProviderRun:
    """One provider's part of a DAG run: ids only, fit for XCom."""

    run_id: int
    service_provider_id: int
    service_provider_name: str
    connection_id: str


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What an operator or the schedule asked of a DAG run."""

    integration: str
    dag_id: str
    dag_run_id: str
    service_provider_ids: Sequence[int] = ()
    full_sync: bool = False
    modified_since: datetime | None = None
    optimization: str = "auto"
    asked_at: datetime | None = None
    """Whose billing period the runs belong to; None = now."""
    allow_mass_deactivation: bool = False


def open_runs(conninfo: str, request: SyncRequest, *, now: datetime) -> list[dict[str, Any]]:
    """Open one run for each provider of the request and, where one is due, its optimization session.

    A provider that another run holds gets a run of status ``refused`` whose tasks fail at once and say who holds it.
    Asking again for the same DAG run finds the same rows.

    Raises:
        PipelineError: a requested provider does not exist or belongs to another integration.
    """
    runs = []
    for provider in requested_providers(conninfo, request.integration, request.service_provider_ids):
        with transaction(conninfo, application_name="amop select_providers") as connection:
            runs.append(asdict(_open_provider_run(connection, request, provider, now)))
    if not runs:
        log.info("No active service provider on integration %s: nothing to do", request.integration)
    return runs


def requested_providers(conninfo: str, integration: str, service_provider_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the providers of an integration that a run covers: those asked for, or all active ones.

    Raises:
        PipelineError: a requested provider does not exist or belongs to another integration.
    """
    with transaction(conninfo, application_name="amop select_providers") as connection:
        providers = connection.execute(
            sql.load("sync/active_providers"),
            {"integration": integration, "service_provider_ids": list(service_provider_ids)},
        ).fetchall()
    unknown = set(service_provider_ids) - {provider["id"] for provider in providers}
    if unknown:
        raise PipelineError(
            f"service_provider_ids {sorted(unknown)} are not providers of integration {integration!r}; "
            "see amop.service_provider or `bin/amop status`"
        )
    return providers


def _open_provider_run(
    connection: WarehouseConnection, request: SyncRequest, provider: dict[str, Any], now: datetime
) -> ProviderRun:
    asked_at = request.asked_at or now
    period = ensure_billing_period(connection, provider["id"], asked_at)
    is_full, modified_since = _which_list(connection, request, provider["id"], now)
    values = {
        "service_provider_id": provider["id"],
        "dag_id": request.dag_id,
        "dag_run_id": request.dag_run_id,
        "status": "running",
        "error": None,
        "billing_period_id": period["id"],
        "is_full": is_full,
        "modified_since": modified_since,
        "allows_mass_deactivation": request.allow_mass_deactivation,
        "now": now,
    }
    _take_over_abandoned(connection, provider, request, now)
    outdated = _why_outdated(connection, request, provider)
    if outdated:
        values |= {"status": "refused", "error": outdated}
        log.error("%s", outdated)
    try:
        with connection.transaction():
            run = connection.execute(sql.load("sync/open_run"), values).fetchone()
    except psycopg.errors.UniqueViolation:
        holder = connection.execute(sql.load("sync/running_run"), {"service_provider_id": provider["id"]}).fetchone()
        values["status"] = "refused"
        values["error"] = _held_by(provider, holder)
        run = connection.execute(sql.load("sync/open_run"), values).fetchone()
        log.error("%s", values["error"])
    if run is None:  # INSERT … RETURNING always returns its row
        raise PipelineError(f"no run could be opened for provider {provider['id']} {provider['name']!r}")
    if run["status"] == "running" and _session_is_wanted(connection, request, provider, period, asked_at):
        _open_session(connection, request, provider, run, now)
    log.info(
        "%s (%s): run %s, %s list since %s",
        provider["name"],
        provider["id"],
        run["id"],
        "full" if is_full else "incremental",
        modified_since,
    )
    return ProviderRun(run["id"], provider["id"], provider["name"], provider["connection_id"])


def _why_outdated(connection: WarehouseConnection, request: SyncRequest, provider: dict[str, Any]) -> str | None:
    """Return why a DAG run that is run once more must not go on: what it read then is older than what is here now."""
    known = connection.execute(
        sql.load("sync/known_run"),
        {"service_provider_id": provider["id"], "dag_id": request.dag_id, "dag_run_id": request.dag_run_id},
    ).fetchone()
    if known is None or known["status"] == "complete":
        return None
    run = load_run(connection, known["id"])
    newer = newer_merged_run(connection, run)
    return older_than(run, newer) if newer else None


def newer_merged_run(connection: WarehouseConnection, run: dict[str, Any]) -> dict[str, Any] | None:
    """Return a run of the same provider that began later and has merged, None if there is none."""
    return connection.execute(
        sql.load("merge/newer_merged_run"),
        {"run_id": run["id"], "service_provider_id": run["service_provider_id"], "started_at": run["started_at"]},
    ).fetchone()


def older_than(run: dict[str, Any], newer: dict[str, Any]) -> str:
    """Return the sentence that tells why a run must not merge any more."""
    return (
        f"{run['service_provider_name']} ({run['service_provider_id']}), run {run['id']} began at "
        f"{run['started_at']:%Y-%m-%d %H:%M:%S} UTC; run {newer['id']} ({newer['dag_run_id']}) began at "
        f"{newer['started_at']:%Y-%m-%d %H:%M:%S} UTC and has merged. Nothing older overwrites anything newer: trigger "
        "a new run instead"
    )


def _open_session(
    connection: WarehouseConnection,
    request: SyncRequest,
    provider: dict[str, Any],
    run: dict[str, Any],
    now: datetime,
) -> None:
    opened_by = f"{request.dag_id}/{request.dag_run_id}"
    if run["attempt"] > 1:
        opened_by += f"#{run['attempt']}"
    try:
        with connection.transaction():
            session = open_session(
                connection,
                service_provider_id=provider["id"],
                billing_period_id=run["billing_period_id"],
                opened_by=opened_by,
                now=now,
            )
    except SessionAlreadyRunningError as error:
        # The sync itself is welcome; only a second optimization beside the first is not.
        log.warning("This run will not optimize: %s", error)
        return
    connection.execute(sql.load("sync/attach_session"), {"run_id": run["id"], "optimization_session_id": session["id"]})


def _session_is_wanted(
    connection: WarehouseConnection,
    request: SyncRequest,
    provider: dict[str, Any],
    period: dict[str, Any],
    asked_at: datetime,
) -> bool:
    if request.optimization == "never" or not provider["supports_optimization"]:
        return False
    if request.optimization == "always":
        return True
    day = sessions_of_day(connection, provider, period, asked_at)
    if session_is_due(provider, period, day, asked_at):
        return True
    reason = "its session of today has completed" if day.has_completed else "its window is not open"
    log.info("%s (%s): no session is due, %s", provider["name"], provider["id"], reason)
    return False


def _which_list(
    connection: WarehouseConnection, request: SyncRequest, service_provider_id: int, now: datetime
) -> tuple[bool, datetime | None]:
    latest = connection.execute(
        sql.load("sync/latest_complete_runs"), {"service_provider_id": service_provider_id}
    ).fetchone()
    last_start = latest["last_complete_start"] if latest else None
    last_full_start = latest["last_full_start"] if latest else None
    if request.full_sync:
        return True, None
    if request.modified_since is not None:
        return False, request.modified_since
    if last_start is None or last_full_start is None or now - last_full_start >= FULL_SYNC_EVERY:
        return True, None
    if latest and latest["has_missing_devices"]:
        # A SIM that one full list did not name waits for a second one: a week is too long to be billed for it.
        return True, None
    return False, last_start - OVERLAP


def _take_over_abandoned(
    connection: WarehouseConnection, provider: dict[str, Any], request: SyncRequest, now: datetime
) -> None:
    holder = connection.execute(sql.load("sync/running_run"), {"service_provider_id": provider["id"]}).fetchone()
    if holder is None or (holder["dag_id"], holder["dag_run_id"]) == (request.dag_id, request.dag_run_id):
        return
    is_trial = holder["dag_run_id"].startswith(TRIAL_RUN_PREFIX)
    if is_trial or now - holder["alive_at"] > time_limits.SILENCE:
        message = (
            f"Run {holder['id']} of {provider['name']} ({holder['dag_run_id']}) has given no sign of life since "
            f"{holder['alive_at']:%Y-%m-%d %H:%M:%S %Z} and was taken over by {request.dag_run_id}"
        )
        log.warning("%s", message)
        end_run(connection, holder["id"], "failed", message, now=now)


def _held_by(provider: dict[str, Any], holder: dict[str, Any] | None) -> str:
    if holder is None:
        return f"Provider {provider['id']} {provider['name']!r} was held by another run a moment ago; try again"
    return (
        f"Provider {provider['id']} {provider['name']!r} is held by run {holder['id']} of {holder['dag_id']} "
        f"({holder['dag_run_id']}, running since {holder['started_at']:%Y-%m-%d %H:%M:%S %Z}); wait for it, or mark it "
        f"failed if it is dead: it is taken over by itself after {time_limits.SILENCE.total_seconds() / 60:.0f} minutes"
    )


def load_run(connection: WarehouseConnection, run_id: int) -> dict[str, Any]:
    """Return the run with its provider and billing period.

    Raises:
        PipelineError: there is no such run.
    """
    run = connection.execute(sql.load("sync/run"), {"run_id": run_id}).fetchone()
    if run is None:
        raise PipelineError(f"device_sync_run {run_id} does not exist")
    return run


def running_run(connection: WarehouseConnection, run_id: int) -> dict[str, Any]:
    """Return the run, which must be running.

    Raises:
        SyncRunEndedError: it has ended; the message carries the error that ended it.
    """
    run = load_run(connection, run_id)
    if run["status"] != "running":
        raise SyncRunEndedError(
            f"{run['service_provider_name']} ({run['service_provider_id']}): run {run_id} is {run['status']}"
            + (f": {run['error']}" if run["error"] else "")
            + ("; nothing is left to do, trigger a new run for newer data" if run["status"] == "complete" else "")
        )
    return run


def held_run(connection: WarehouseConnection, run_id: int) -> dict[str, Any] | None:
    """Return the running run, to be read from the carrier by this database session alone until that ends.

    A try that was given up (its scheduler was killed, its machine cut off) may still be at work when the next one
    begins: that one waits for its end, and goes on where it stopped. None where the run is complete by then: the
    clean-up waits for the rows and not for the task, so that nothing is left to do.

    Raises:
        SyncBusyError: the other one goes on for longer than `amop.time_limits.LOCK`.
        SyncRunEndedError: the run has failed or was refused.
    """
    if is_complete(connection, run_id):
        log.info("Run %s is complete: another process has done what this one was started for", run_id)
        return None
    run = running_run(connection, run_id)
    try:
        connection.execute(sql.load("sync/lock_run"), {"run_id": run_id})
    except psycopg.errors.LockNotAvailable:
        raise SyncBusyError(
            f"{run['service_provider_name']} ({run['service_provider_id']}), run {run_id}: another process still reads "
            "this run from the carrier (pg_stat_activity shows it as amop fetch_devices or amop fetch_usage); nothing "
            "is read twice, this task tries again and goes on where that one stops"
        ) from None
    connection.commit()
    return None if is_complete(connection, run_id) else running_run(connection, run_id)


def is_complete(connection: WarehouseConnection, run_id: int) -> bool:
    """Return True if everything of a run was done, by whichever process; what is left of its tasks has nothing to do.

    Raises:
        PipelineError: there is no such run.
    """
    return bool(load_run(connection, run_id)["status"] == "complete")


def note_progress(connection: WarehouseConnection, run_id: int, *, pages: int, now: datetime) -> None:
    """Stamp the run as moving and count pages, in the transaction that staged something.

    Raises:
        SyncRunEndedError: the run has ended meanwhile; the transaction must not commit.
    """
    moved = connection.execute(sql.load("sync/note_progress"), {"run_id": run_id, "pages": pages, "now": now}).rowcount
    if not moved:
        running_run(connection, run_id)
        raise SyncRunEndedError(f"run {run_id} has ended meanwhile")


def reopen_run(conninfo: str, run_id: int, *, now: datetime) -> None:
    """Let a cleared task of a failed run go on where the ledger stopped; a running or complete run is left alone.

    Raises:
        SyncRunEndedError: another run holds the provider, one that began later has merged, or this one was refused.
    """
    with transaction(conninfo, application_name="amop reopen_run") as connection:
        run = load_run(connection, run_id)
        newer = newer_merged_run(connection, run) if run["status"] == "failed" else None
        if newer is not None:
            raise SyncRunEndedError(older_than(run, newer))
        try:
            with connection.transaction():
                connection.execute(sql.load("sync/reopen_run"), {"run_id": run_id, "now": now})
        except psycopg.errors.UniqueViolation:
            holder = connection.execute(
                sql.load("sync/running_run"), {"service_provider_id": run["service_provider_id"]}
            ).fetchone()
            provider = {"id": run["service_provider_id"], "name": run["service_provider_name"]}
            raise SyncRunEndedError(_held_by(provider, holder)) from None
        if not is_complete(connection, run_id):
            running_run(connection, run_id)


def end_run(connection: WarehouseConnection, run_id: int, status: str, error: str | None, *, now: datetime) -> None:
    """End a running run; a failed or refused one takes its session with it, with one ErrorMessage to AMOP."""
    ended = connection.execute(
        sql.load("sync/end_run"), {"run_id": run_id, "status": status, "error": error, "now": now}
    ).fetchone()
    if ended and status in {"failed", "refused"} and ended["optimization_session_id"] is not None:
        text = error or f"device sync run {run_id} {status}"
        fail_session(connection, ended["optimization_session_id"], text, now=now)
