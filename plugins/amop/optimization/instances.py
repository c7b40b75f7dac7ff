"""Open, load and end the instance of an optimization session; a session has one instance."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from amop.database.connection import WarehouseConnection, transaction
from amop.optimization import store
from amop.optimization.rows import Instance, Provider
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.errors import PipelineError
from amop.runs.sessions import advance_session, fail_session, load_session, lock_session, open_session
from amop.runs.store.sessions import Session, end_instance_of_session, failed_session

log = logging.getLogger(__name__)

READY_TO_OPTIMIZE = 20
"""Percent of a session whose inputs are in the warehouse."""


class OptimizationRequestError(PipelineError):
    """The request is invalid: its ids do not belong together. The session that it names is left as it is."""


class InstanceEndedError(PipelineError):
    """The instance or its session has ended; the message carries the error that ended it."""


@dataclass(frozen=True, slots=True)
class OptimizationRequest:
    """The request of a DAG run, by an operator or by a device sync."""

    integration: str
    opened_by: str
    """``<dag id>/<run id>``: a run without a session opens one under this name, once."""
    service_provider_id: int
    billing_period_id: int | None = None
    """None = that of the session, or the provider's current one at ``requested_at``."""
    optimization_session_id: int | None = None
    """None = open one."""
    apply_changes: str = "provider_setting"
    requested_at: datetime | None = None
    """None = now."""
    clear_number: int = 0
    """Number of times that an operator has cleared the DAG run."""


def check_request(conninfo: str, request: OptimizationRequest) -> None:
    """Check that provider, billing period and session belong together, before anything is written.

    Raises:
        OptimizationRequestError: they do not, or the session's device sync has not ended.
        SessionNotFoundError: there is no such session.
    """
    with transaction(conninfo, application_name="amop check_request") as connection:
        provider = store.instances.find_provider(connection, service_provider_id=request.service_provider_id)
        if provider is None or provider.integration != request.integration:
            raise OptimizationRequestError(
                f"service_provider_id {request.service_provider_id} is not a provider of integration "
                f"{request.integration!r}; see `bin/amop status`"
            )
        if request.billing_period_id is not None:
            _check_billing_period(connection, request.billing_period_id, provider)
        if request.optimization_session_id is not None:
            _check_session(connection, request, request.optimization_session_id, provider)


def _check_billing_period(connection: WarehouseConnection, billing_period_id: int, provider: Provider) -> None:
    if store.instances.provider_of_billing_period(connection, billing_period_id=billing_period_id) == provider.id:
        return
    known = store.instances.latest_billing_periods(connection, service_provider_id=provider.id)
    listed = ", ".join(f"{period.id} (ends {period.cycle_end:%Y-%m-%d %H:%M %Z})" for period in known)
    raise OptimizationRequestError(
        f"billing_period_id {billing_period_id} is not a billing period of provider {provider.id} {provider.name!r}; "
        f"its latest ones are {listed or '(none yet)'}"
    )


def _check_session(
    connection: WarehouseConnection, request: OptimizationRequest, session_id: int, provider: Provider
) -> None:
    session = load_session(connection, session_id)
    if session.service_provider_id != provider.id:
        raise OptimizationRequestError(
            f"optimization_session_id {session_id} is a session of {session.service_provider_name} "
            f"({session.service_provider_id}), not of {provider.name} ({provider.id})"
        )
    if request.billing_period_id not in {None, session.billing_period_id}:
        raise OptimizationRequestError(
            f"optimization_session_id {session_id} is for billing period {session.billing_period_id}, not for "
            f"billing_period_id {request.billing_period_id}"
        )
    sync = store.instances.sync_run_of_session(connection, session_id=session_id)
    if sync is not None and sync.status == "running":
        raise OptimizationRequestError(
            f"optimization_session_id {session_id}: its device sync (run {sync.id}) has not ended; the sync starts the "
            "optimization automatically"
        )


def open_instance(conninfo: str, request: OptimizationRequest, *, now: datetime) -> dict[str, int]:
    """Open the instance of the request's session; a request without one opens the session too (AMOP 0 and 20 %).

    A repeated call for the same DAG run or session finds the same rows, also those of a complete session. A request
    that an operator cleared after its session had failed gets a new session. So does one whose session failed before it
    began: the watchdog ended it, and then an operator cleared the task that starts this request.

    Returns:
        ``instance_id`` and ``session_id``.

    Raises:
        SessionAlreadyRunningError: the provider has another running session; the message names it.
        SessionEndedError: the session has ended.
    """
    with transaction(conninfo, application_name="amop open_instance") as connection:
        session_id = request.optimization_session_id
        if session_id is None:
            session_id = _open_session(connection, request, now)
        session = load_session(connection, session_id)
        failed = failed_session(connection, session_id=session_id)
        if failed is not None and (request.clear_number > 0 or (failed.is_latest and not failed.has_begun)):
            session_id = _open_next_session(connection, request, session, now)
            session = load_session(connection, session_id)
        if session.status == "complete":
            log.info("Session %s is already complete, nothing to do", session_id)
        else:
            advance_session(connection, session_id, READY_TO_OPTIMIZE)
        read_at = store.instances.usage_read_at(
            connection,
            service_provider_id=session.service_provider_id,
            billing_period_id=session.billing_period_id,
        )
        # Usage of a closed period is final: it is projected from the period's end, which leaves it unchanged.
        usage_as_of = session.cycle_end if now >= session.cycle_end else read_at or now
        instance_id = store.instances.insert_instance(
            connection,
            session_id=session_id,
            usage_as_of=usage_as_of,
            apply_changes=request.apply_changes,
            now=now,
        )
    log.info(
        "%s: instance %s of session %s, billing period %s to %s, usage as of %s",
        session.service_provider_name,
        instance_id,
        session_id,
        session.cycle_start,
        session.cycle_end,
        usage_as_of,
    )
    return {"instance_id": instance_id, "session_id": session_id}


def _open_session(connection: WarehouseConnection, request: OptimizationRequest, now: datetime) -> int:
    billing_period_id = request.billing_period_id
    if billing_period_id is None:
        moment = request.requested_at or now
        billing_period_id = ensure_billing_period(connection, request.service_provider_id, moment).id
    session = open_session(
        connection,
        service_provider_id=request.service_provider_id,
        billing_period_id=billing_period_id,
        opened_by=request.opened_by,
        now=now,
    )
    return session.id


def _open_next_session(
    connection: WarehouseConnection, request: OptimizationRequest, failed: Session, now: datetime
) -> int:
    """Open a session in place of one that has failed: after an ErrorMessage AMOP takes nothing more of that one."""
    session = open_session(
        connection,
        service_provider_id=failed.service_provider_id,
        billing_period_id=failed.billing_period_id,
        opened_by=f"{request.opened_by}#{request.clear_number + 1}",
        now=now,
    )
    log.info("Session %s has failed: session %s takes its place", failed.id, session.id)
    return session.id


def load_instance(connection: WarehouseConnection, instance_id: int) -> Instance:
    """Return the instance with its session, provider and billing period.

    Raises:
        PipelineError: there is no such instance.
    """
    instance = store.instances.find_instance(connection, instance_id=instance_id)
    if instance is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    return instance


def lock_instance(connection: WarehouseConnection, instance_id: int) -> Instance:
    """Return the running instance and lock its session until the transaction ends: one writer at a time.

    Raises:
        InstanceEndedError: the instance or its session has ended.
    """
    lock_session(connection, load_instance(connection, instance_id).session_id)
    return running_instance(connection, instance_id)


def running_instance(connection: WarehouseConnection, instance_id: int) -> Instance:
    """Return the instance, which must be running, as must its session.

    Raises:
        InstanceEndedError: one of them has ended.
    """
    instance = load_instance(connection, instance_id)
    if not instance.is_running:
        reason = instance.error or instance.session_error
        raise InstanceEndedError(
            f"{instance.service_provider_name} ({instance.service_provider_id}): instance {instance_id} of session "
            f"{instance.session_id} has ended ({instance.run_status}, session {instance.session_status})"
            + (f": {reason}" if reason else "")
            + ". Clear open_instance with downstream tasks, which opens a new session, or trigger a new run"
        )
    return instance


def end_with_errors(
    connection: WarehouseConnection, instance: Instance, text: str, *, detail: str | None = None, now: datetime
) -> None:
    """End instance and session with an error, in the caller's transaction; AMOP gets the text as one ErrorMessage.

    ``detail`` follows the text in the error of both, and is not sent to AMOP.
    """
    fail_session(connection, instance.session_id, text, detail=detail)
    end_instance_of_session(connection, session_id=instance.session_id, now=now)


def add_warning(conninfo: str, instance_id: int, text: str) -> None:
    """Add a warning to an instance, once."""
    with transaction(conninfo, application_name="amop add_warning") as connection:
        store.instances.add_warning(connection, instance_id=instance_id, warning=text)
