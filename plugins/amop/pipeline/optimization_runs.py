"""Opening, loading and ending the instance of an optimization session: one instance for each session."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.pipeline.errors import PipelineError
from amop.warehouse import optimization_instances as instances
from amop.warehouse import sql
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.sessions import advance_session, fail_session, open_session, session_row

log = logging.getLogger(__name__)

READY_TO_OPTIMIZE = 20
"""Percent of a session when its inputs are there."""


class OptimizationRequestError(PipelineError):
    """What was asked for cannot be: the ids do not belong together. The session of somebody else is left alone."""


class InstanceEndedError(PipelineError):
    """The instance or its session has ended; the message carries the error that ended it."""


@dataclass(frozen=True, slots=True)
class OptimizationRequest:
    """What an operator or the clean-up of a sync asked of a DAG run."""

    integration: str
    opened_by: str
    """``<dag id>/<run id>``: a run without a session opens one in this name, once."""
    service_provider_id: int
    billing_period_id: int | None = None
    """None = the session's, or the provider's one at the moment it was asked for."""
    optimization_session_id: int | None = None
    """None = open one."""
    apply_changes: str = "provider_setting"
    asked_at: datetime | None = None
    """None = now."""


def check_request(conninfo: str, request: OptimizationRequest) -> None:
    """Check that provider, billing period and session belong together, before anything is written.

    Raises:
        OptimizationRequestError: they do not, or the session's device sync has not ended.
        SessionNotFoundError: there is no such session.
    """
    with transaction(conninfo, application_name="amop check_request") as connection:
        provider = instances.row(connection, "provider", service_provider_id=request.service_provider_id)
        if provider is None or provider["integration"] != request.integration:
            raise OptimizationRequestError(
                f"service_provider_id {request.service_provider_id} is not a provider of integration "
                f"{request.integration!r}; see `bin/amop status`"
            )
        if request.billing_period_id is not None:
            period = instances.row(connection, "billing_period", billing_period_id=request.billing_period_id)
            if period is None or period["service_provider_id"] != provider["id"]:
                known = instances.rows(connection, "latest_billing_periods", service_provider_id=provider["id"])
                listed = ", ".join(f"{row['id']} (ends {row['cycle_end']:%Y-%m-%d %H:%M %Z})" for row in known)
                raise OptimizationRequestError(
                    f"billing_period_id {request.billing_period_id} is not a billing period of provider "
                    f"{provider['id']} {provider['name']!r}; its latest ones are {listed or '(none yet)'}"
                )
        if request.optimization_session_id is not None:
            _check_session(connection, request, provider)


def _check_session(connection: WarehouseConnection, request: OptimizationRequest, provider: dict[str, Any]) -> None:
    session_id = request.optimization_session_id
    session = session_row(connection, int(session_id or 0))
    if session["service_provider_id"] != provider["id"]:
        raise OptimizationRequestError(
            f"optimization_session_id {session_id} is a session of {session['service_provider_name']} "
            f"({session['service_provider_id']}), not of {provider['name']} ({provider['id']})"
        )
    if request.billing_period_id not in {None, session["billing_period_id"]}:
        raise OptimizationRequestError(
            f"optimization_session_id {session_id} is for billing period {session['billing_period_id']}, not for "
            f"billing_period_id {request.billing_period_id}"
        )
    sync = instances.row(connection, "sync_run_of_session", session_id=session_id)
    if sync is not None and sync["status"] == "running":
        raise OptimizationRequestError(
            f"optimization_session_id {session_id}: its device sync (run {sync['id']}) has not ended; it starts the "
            "optimization by itself"
        )


def open_instance(conninfo: str, request: OptimizationRequest, *, now: datetime) -> dict[str, int]:
    """Open the instance of the request's session; a request without one opens the session too (AMOP 0 and 20 %).

    Asking again for the same DAG run or session finds the same rows.

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
        advance_session(connection, session_id, READY_TO_OPTIMIZE)
        session = session_row(connection, session_id)
        read_at = instances.usage_read_at(
            connection,
            service_provider_id=session["service_provider_id"],
            billing_period_id=session["billing_period_id"],
        )
        # Nothing is projected beyond a period that is over: what its days have used is what it has used.
        usage_as_of = session["cycle_end"] if now >= session["cycle_end"] else read_at or now
        instance_id = instances.open_instance(
            connection,
            session_id=session_id,
            usage_as_of=usage_as_of,
            apply_changes=request.apply_changes,
            now=now,
        )
    log.info(
        "%s: instance %s of session %s, billing period %s to %s, usage as of %s",
        session["service_provider_name"], instance_id, session_id, session["cycle_start"], session["cycle_end"],
        usage_as_of,
    )  # fmt: skip
    return {"instance_id": instance_id, "session_id": session_id}


def _open_session(connection: WarehouseConnection, request: OptimizationRequest, now: datetime) -> int:
    billing_period_id = request.billing_period_id
    if billing_period_id is None:
        billing_period_id = ensure_billing_period(connection, request.service_provider_id, request.asked_at or now)[
            "id"
        ]
    session = open_session(
        connection,
        service_provider_id=request.service_provider_id,
        billing_period_id=billing_period_id,
        opened_by=request.opened_by,
        now=now,
    )
    return int(session["id"])


def load_instance(connection: WarehouseConnection, instance_id: int) -> dict[str, Any]:
    """Return the instance with its session, provider and billing period.

    Raises:
        PipelineError: there is no such instance.
    """
    instance = instances.row(connection, "instance", instance_id=instance_id)
    if instance is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    return instance


def locked_instance(connection: WarehouseConnection, instance_id: int) -> dict[str, Any]:
    """Return the running instance and hold its session until the transaction ends: one writer at a time.

    Raises:
        InstanceEndedError: the instance or its session has ended.
    """
    session_id = load_instance(connection, instance_id)["session_id"]
    connection.execute(sql.load("sessions/lock_session"), {"session_id": session_id})
    return running_instance(connection, instance_id)


def running_instance(connection: WarehouseConnection, instance_id: int) -> dict[str, Any]:
    """Return the instance, which must be running, as its session must.

    Raises:
        InstanceEndedError: one of them has ended.
    """
    instance = load_instance(connection, instance_id)
    if instance["run_status"] != "running" or instance["session_status"] != "running":
        reason = instance["error"] or instance["session_error"]
        raise InstanceEndedError(
            f"{instance['service_provider_name']} ({instance['service_provider_id']}): instance {instance_id} of "
            f"session {instance['session_id']} has ended ({instance['run_status']}, session "
            f"{instance['session_status']})"
            + (f": {reason}" if reason else "")
            + ". A session that has ended is not taken up again: trigger a new run"
        )
    return instance


def end_with_errors(
    connection: WarehouseConnection, instance: dict[str, Any], text: str, *, detail: str | None = None, now: datetime
) -> None:
    """End instance and session with an error, in the caller's transaction: one ErrorMessage to AMOP, word for word.

    ``detail`` stands after the text in the error of both, and is not told to AMOP.
    """
    fail_session(connection, instance["session_id"], text, detail=detail)
    instances.execute(connection, "fail_instance_of_session", session_id=instance["session_id"], now=now)


def end_instance_of_failed_session(conninfo: str, session_id: int, *, now: datetime) -> None:
    """End the instance of a session that has failed; nothing changes while the session runs."""
    with transaction(conninfo, application_name="amop end_instance") as connection:
        instances.execute(connection, "fail_instance_of_session", session_id=session_id, now=now)
