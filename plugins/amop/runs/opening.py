"""Open device sync runs: one per provider at a time, or a refused one that says why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import psycopg

from amop.database.connection import WarehouseConnection, is_of_one_row, transaction
from amop.foreign_text import clean_text, storable_error
from amop.reference.billing_periods import ensure_billing_period
from amop.reference.store import StoredBillingPeriod
from amop.runs import store
from amop.runs.due import provider_is_due, sessions_of_day
from amop.runs.errors import PipelineError
from amop.runs.sessions import SessionAlreadyRunningError, open_session
from amop.runs.store.sync_runs import HoldingRun, OpenedRun, Provider
from amop.runs.sync_runs import NO_RUN, end_run, load_run, newer_merged_run, outdated_text
from amop.runs.take_over import IsActive, may_adopt, reason_to_take_over

log = logging.getLogger(__name__)

FULL_SYNC_EVERY = timedelta(days=6, hours=12)
"""A daily run whose last exact full list is older than this reads the full list: at least every seventh day."""


OVERLAP = timedelta(days=1)
"""An incremental list begins this long before the start of the last complete run."""


OPENING_LOCK = timedelta(seconds=10)
"""Longest wait for a lock while a provider's run is opened: the other providers of the DAG run wait meanwhile."""


@dataclass(frozen=True, slots=True)
class ProviderRun:
    """One provider's part of a DAG run: ids and names, small enough for XCom."""

    run_id: int
    service_provider_id: int
    service_provider_name: str
    connection_id: str
    optimization_session_id: int | None
    """The session that the run feeds, None where it does not optimize."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The parameters of a DAG run, from an operator or the schedule."""

    integration: str
    dag_id: str
    dag_run_id: str
    service_provider_ids: Sequence[int] = ()
    full_sync: bool = False
    modified_since: datetime | None = None
    optimization: str = "auto"
    requested_at: datetime | None = None
    """The runs belong to the billing period that contains this moment; None = now."""
    allow_mass_deactivation: bool = False
    allow_implausible: bool = False
    """Merge what exceeds the provider's plausibility limits, with warnings."""
    clear_number: int = 0
    """Number of times that an operator has cleared the DAG run."""
    is_one_process: bool = False
    """True where one process executes all tasks (``airflow dags test``)."""


def open_runs(
    conninfo: str, request: SyncRequest, *, now: datetime, is_active: IsActive = lambda *_: True
) -> list[ProviderRun]:
    """Open one run for each provider of the request and, where one is due, its optimization session.

    A provider that another run holds, or whose run cannot be opened (a locked row, a wrong time zone), gets a run of
    status ``refused``, whose tasks fail at once with the reason. It does not stop the other providers. A repeated call
    for the same DAG run finds the same rows. The work of a run whose process is gone is continued.

    Args:
        conninfo: libpq connection string of the warehouse.
        request: the parameters of the DAG run.
        now: the moment, aware.
        is_active: asked about the DAG run of a run that holds its provider without heartbeats.

    Raises:
        PipelineError: a requested provider does not exist or belongs to another integration, or ``modified_since`` is
            in the future.
        psycopg.OperationalError: the warehouse cannot be reached.
    """
    if request.modified_since is not None and request.modified_since > now:
        raise PipelineError(
            f"modified_since is {request.modified_since.isoformat()}, in the future: the carrier would list no SIM, "
            "and the next list would begin at this run"
        )
    runs = []
    for provider in requested_providers(conninfo, request.integration, request.service_provider_ids):
        try:
            with transaction(conninfo, application_name="amop select_providers", lock=OPENING_LOCK) as connection:
                runs.append(_open_provider_run(connection, request, provider, now, is_active))
        except Exception as error:
            if not is_of_one_row(error):
                raise
            log.exception("The run of %s (%s) cannot be opened", provider.name, provider.id)
            runs.append(_refused_run(conninfo, request, provider, error, now))
    if not runs:
        log.info("No active service provider on integration %s: nothing to do", request.integration)
    return runs


def _refused_run(
    conninfo: str, request: SyncRequest, provider: Provider, cause: Exception, now: datetime
) -> ProviderRun:
    """Refuse the run of a provider that could not be opened; without a run where not even this is possible."""
    text = storable_error(
        f"The run of {provider.name} ({provider.id}) cannot be opened: {clean_text(cause)} "
        f"({type(cause).__name__}). Remove the cause and trigger the sync of this provider; the others are not affected"
    )
    run_id = NO_RUN
    try:
        with transaction(conninfo, application_name="amop select_providers", lock=OPENING_LOCK) as connection:
            known = store.sync_runs.run_of_dag_run(
                connection, service_provider_id=provider.id, dag_id=request.dag_id, dag_run_id=request.dag_run_id
            )
            if known is not None and known.status == "running":
                run_id = known.id
                end_run(connection, run_id, "refused", text, now=now)
            else:
                run_id = store.sync_runs.insert_run(
                    connection,
                    service_provider_id=provider.id,
                    dag_id=request.dag_id,
                    dag_run_id=request.dag_run_id,
                    status="refused",
                    error=text,
                    billing_period_id=None,
                    is_full=False,
                    modified_since=None,
                    allows_mass_deactivation=request.allow_mass_deactivation,
                    allows_implausible=request.allow_implausible,
                    clear_number=request.clear_number,
                    is_one_process=request.is_one_process,
                    now=now,
                ).id
    except psycopg.errors.LockNotAvailable:
        log.exception("%s. The refusal cannot be stored either", text)
    return ProviderRun(run_id, provider.id, provider.name, provider.connection_id, None)


def requested_providers(conninfo: str, integration: str, service_provider_ids: Sequence[int]) -> list[Provider]:
    """Return the providers of an integration that a run covers: those requested, or all active ones.

    Raises:
        PipelineError: a requested provider does not exist or belongs to another integration.
    """
    with transaction(conninfo, application_name="amop select_providers") as connection:
        providers = store.sync_runs.active_providers(
            connection, integration=integration, service_provider_ids=list(service_provider_ids)
        )
    unknown = set(service_provider_ids) - {provider.id for provider in providers}
    if unknown:
        raise PipelineError(
            f"service_provider_ids {sorted(unknown)} are not providers of integration {integration!r}; "
            "see amop.service_provider or `bin/amop status`"
        )
    return providers


def _open_provider_run(
    connection: WarehouseConnection, request: SyncRequest, provider: Provider, now: datetime, is_active: IsActive
) -> ProviderRun:
    requested_at = request.requested_at or now
    period = ensure_billing_period(connection, provider.id, requested_at)
    is_full, modified_since = _choose_list(connection, request, provider.id, now)
    insert = partial(
        store.sync_runs.insert_run,
        connection,
        service_provider_id=provider.id,
        dag_id=request.dag_id,
        dag_run_id=request.dag_run_id,
        billing_period_id=period.id,
        is_full=is_full,
        modified_since=modified_since,
        allows_mass_deactivation=request.allow_mass_deactivation,
        allows_implausible=request.allow_implausible,
        clear_number=request.clear_number,
        is_one_process=request.is_one_process,
        now=now,
    )
    _take_over(connection, provider, request, period.id, now, is_active)
    refusal = _outdated_reason(connection, request, provider)
    try:
        with connection.transaction():
            run = insert(status="refused" if refusal else "running", error=refusal)
    except psycopg.errors.UniqueViolation:
        holder = store.sync_runs.run_holding_provider(connection, service_provider_id=provider.id)
        refusal = held_text(provider.id, provider.name, holder)
        run = insert(status="refused", error=refusal)
    if refusal:
        log.error("%s", refusal)
    session_id = run.optimization_session_id
    if run.status == "running" and _session_is_wanted(connection, request, provider, period, requested_at):
        session_id = _open_session(connection, request, run, provider.id, run.billing_period_id or period.id, now)
    log.info(
        "%s (%s): run %s, %s list since %s",
        provider.name,
        provider.id,
        run.id,
        "full" if is_full else "incremental",
        modified_since,
    )
    return ProviderRun(run.id, provider.id, provider.name, provider.connection_id, session_id)


def _outdated_reason(connection: WarehouseConnection, request: SyncRequest, provider: Provider) -> str | None:
    """Return why a repeated DAG run must not continue: a later run has merged newer data; None if it may."""
    known = store.sync_runs.run_of_dag_run(
        connection, service_provider_id=provider.id, dag_id=request.dag_id, dag_run_id=request.dag_run_id
    )
    if known is None or known.status == "complete":
        return None
    run = load_run(connection, known.id)
    newer = newer_merged_run(connection, run)
    return outdated_text(run, newer) if newer else None


def _open_session(
    connection: WarehouseConnection,
    request: SyncRequest,
    run: OpenedRun,
    service_provider_id: int,
    billing_period_id: int,
    now: datetime,
) -> int | None:
    """Open the session that a run feeds and return its id; None where another session of the provider runs."""
    try:
        with connection.transaction():
            session = open_session(
                connection,
                service_provider_id=service_provider_id,
                billing_period_id=billing_period_id,
                opened_by=session_opener(request.dag_id, request.dag_run_id, run.attempt),
                now=now,
            )
    except SessionAlreadyRunningError as error:
        # The sync itself is useful; only a second optimization beside the first is not.
        log.warning("This run will not optimize: %s", error)
        return run.optimization_session_id
    store.sync_runs.attach_session(connection, run_id=run.id, optimization_session_id=session.id)
    return session.id


def session_opener(dag_id: str, dag_run_id: str, attempt: int) -> str:
    """Return the opener of a run's session; each attempt of the run opens a session of its own."""
    return f"{dag_id}/{dag_run_id}" + (f"#{attempt}" if attempt > 1 else "")


def _session_is_wanted(
    connection: WarehouseConnection,
    request: SyncRequest,
    provider: Provider,
    period: StoredBillingPeriod,
    requested_at: datetime,
) -> bool:
    if request.optimization == "never" or not provider.supports_optimization:
        return False
    if request.optimization == "always":
        return True
    day = sessions_of_day(connection, provider, period, requested_at)
    if provider_is_due(provider, period, day, requested_at):
        return True
    reason = "its session of today has completed" if day.has_completed else "its window is not open"
    log.info("%s (%s): no session is due, %s", provider.name, provider.id, reason)
    return False


def _choose_list(
    connection: WarehouseConnection, request: SyncRequest, service_provider_id: int, now: datetime
) -> tuple[bool, datetime | None]:
    """Return whether the run reads the full list, and where an incremental one begins."""
    latest = store.sync_runs.latest_complete_runs(connection, service_provider_id=service_provider_id)
    if request.full_sync:
        return True, None
    if request.modified_since is not None:
        return False, request.modified_since
    last_start, last_full_start = latest.last_complete_start, latest.last_full_start
    if last_start is None or last_full_start is None or now - last_full_start >= FULL_SYNC_EVERY:
        return True, None
    if last_start > now:
        # The clock was ahead when that run began: a list since then would be empty.
        return True, None
    if latest.has_missing_devices:
        # A SIM missing from one full list is judged by the next one: a week is too long to be billed for it.
        return True, None
    return False, last_start - OVERLAP


def _take_over(
    connection: WarehouseConnection,
    provider: Provider,
    request: SyncRequest,
    billing_period_id: int,
    now: datetime,
    is_active: IsActive,
) -> None:
    """Continue the work of the run that holds the provider if its process is gone, or end that run."""
    holder = store.sync_runs.run_holding_provider(connection, service_provider_id=provider.id)
    if holder is None or (holder.dag_id, holder.dag_run_id) == (request.dag_id, request.dag_run_id):
        return
    reason = reason_to_take_over(
        holder,
        is_read=lambda: not store.sync_runs.try_lock_run_reads(connection, run_id=holder.id),
        is_active=is_active,
        now=now,
    )
    if reason is None:
        return
    message = (
        f"Run {holder.id} of {provider.name} ({holder.dag_run_id}) {reason} and was taken over by {request.dag_run_id}"
    )
    own = store.sync_runs.run_of_dag_run(
        connection, service_provider_id=provider.id, dag_id=request.dag_id, dag_run_id=request.dag_run_id
    )
    if own is None and may_adopt(
        holder,
        billing_period_id=billing_period_id,
        full_sync=request.full_sync,
        modified_since=request.modified_since,
        now=now,
    ):
        store.sync_runs.adopt_run(
            connection,
            run_id=holder.id,
            dag_id=request.dag_id,
            dag_run_id=request.dag_run_id,
            clear_number=request.clear_number,
            is_one_process=request.is_one_process,
            now=now,
        )
        log.warning("%s, which resumes it where its ledger stands", message)
        return
    log.warning("%s", message)
    end_run(connection, holder.id, "failed", message, now=now)


def held_text(service_provider_id: int, name: str, holder: HoldingRun | None) -> str:
    """Return the sentence that says which run holds a provider, and what to do."""
    if holder is None:
        return f"Provider {service_provider_id} {name!r} was held by another run a moment ago; try again"
    return (
        f"Provider {service_provider_id} {name!r} is held by run {holder.id} of {holder.dag_id} "
        f"({holder.dag_run_id}, running since {holder.started_at:%Y-%m-%d %H:%M:%S %Z}); wait for it. A run "
        "whose process is gone ends within minutes, on its own or with `bin/amop runs end "
        f"{holder.id}`; then trigger the sync again"
    )
