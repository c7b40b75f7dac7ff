"""From Airflow's connections and Variables to the package's own clients, in one place."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook, Connection, ObjectStoragePath, Variable, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from amop import ids, time_limits
from amop.domain.http_connection import HttpConnectionError, read_http_connection
from amop.warehouse.connection import with_statement_limit
from amop.warehouse.conninfo import conninfo_from_fields

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    from amop.carriers.account import CarrierAccount
    from amop.carriers.protocol import CarrierClient
    from amop.notify.amop_client import AmopClient

log = logging.getLogger(__name__)

Hook = TypeVar("Hook", bound="AwsGenericHook[Any]")


def conninfo_of(connection: Connection) -> str:
    """Return the libpq connection string of an Airflow postgres connection.

    Raises:
        ConnectionFormError: the connection has no host or database; the message holds nothing of it.
    """
    return conninfo_from_fields(
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        schema=connection.schema,
        extra=_extra(connection),
    )


def warehouse_conninfo() -> str:
    """Return the connection string of the warehouse, from connection ``amop_warehouse``.

    Its sessions end a statement well before the running task's own time is over.

    Raises:
        AirflowNotFoundException: the connection is not defined; the message says which.
    """
    try:
        task_limit = get_current_context()["task"].execution_timeout
    except RuntimeError:  # no task is running
        task_limit = None
    conninfo = conninfo_of(BaseHook.get_connection(ids.WAREHOUSE_CONNECTION))
    return with_statement_limit(conninfo, time_limits.longest_statement(task_limit))


def aws_hook(hook_class: Callable[..., Hook], **arguments: Any) -> Hook:
    """Return a hook on connection ``aws_default`` whose calls end in time and trust no unknown certificate.

    Args:
        hook_class: Airflow's hook of an AWS service.
        **arguments: more of the hook's own arguments.

    Raises:
        AirflowFailException: the connection switches the verification of certificates off for another machine.
    """
    from botocore.config import Config

    limits = Config(
        connect_timeout=time_limits.AWS_CONNECT.total_seconds(),
        read_timeout=time_limits.AWS_READ.total_seconds(),
        retries={"total_max_attempts": time_limits.AWS_ATTEMPTS, "mode": "standard"},
    )
    settings = hook_class(aws_conn_id=ids.AWS_CONNECTION).conn_config
    if settings.verify is not None:
        endpoint = settings.endpoint_url or "https://amazonaws.com"
        try:
            read_http_connection(endpoint, None, None, {"verify": settings.verify})
        except HttpConnectionError as error:
            raise AirflowFailException(f"connection {ids.AWS_CONNECTION}: {error}") from None
    own = settings.botocore_config
    return hook_class(aws_conn_id=ids.AWS_CONNECTION, config=own.merge(limits) if own else limits, **arguments)


def carrier_account(connection_id: str, service_provider_name: str) -> CarrierAccount:
    """Return the carrier account behind an ``http`` connection: address, credentials and pace.

    Raises:
        CarrierError: the connection is unusable, for instance without TLS.
        AirflowNotFoundException: the connection is not defined; the message says which.
    """
    from amop.carriers.account import CarrierAccount

    connection = BaseHook.get_connection(connection_id)
    return CarrierAccount.from_connection_fields(
        connection_id=connection_id,
        service_provider_name=service_provider_name,
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=_extra(connection),
    )


def carrier_client(connection_id: str, service_provider_name: str, *, may_write: bool = False) -> CarrierClient:
    """Return a client of the carrier account behind an ``http`` connection, throttled across processes.

    Args:
        connection_id: the provider's connection.
        service_provider_name: for the messages.
        may_write: the provider's ``write_is_enabled``; False refuses every write before it is sent.

    Raises:
        CarrierError: the connection is unusable, for instance without TLS.
        AirflowNotFoundException: the connection is not defined; the message says which.
    """
    from amop.carriers.control_center import ControlCenterClient
    from amop.warehouse.call_gate import PostgresCallGate

    account = carrier_account(connection_id, service_provider_name)
    gate = PostgresCallGate(warehouse_conninfo(), account.gate_key, account.calls_per_second)
    return ControlCenterClient(account, gate, may_write=may_write)


def amop_client() -> AmopClient | None:
    """Return a client of AMOP's API, or None where connection ``amop_api`` is not defined (callbacks stay queued)."""
    from amop.notify.amop_client import AmopClient

    try:
        connection = BaseHook.get_connection(ids.AMOP_API_CONNECTION)
    except AirflowNotFoundException:
        log.warning("Connection %s is not defined: callbacks wait in amop.amop_outbox", ids.AMOP_API_CONNECTION)
        return None
    return AmopClient.from_connection_fields(
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        password=connection.password,
        extra=_extra(connection),
    )


def deliver_session_messages(session_id: int | None) -> None:
    """Send what the outbox holds for a session, now; whatever fails stays for the relay."""
    if session_id is not None:
        _deliver(session_id=session_id)


def deliver_message(dedupe_key: str) -> None:
    """Send one message of the outbox, now; if that fails it stays for the relay."""
    _deliver(dedupe_key=dedupe_key)


def _deliver(**which: Any) -> None:
    from amop.pipeline.outbox_delivery import deliver_outbox

    try:
        client = amop_client()
        if client is not None:
            with client:
                deliver_outbox(warehouse_conninfo(), client, now=lambda: datetime.now(UTC), **which)
    except Exception:  # the message is safe in the outbox; AMOP being away must not fail the pipeline
        log.warning("AMOP could not be told now; the relay will try again", exc_info=True)


def optional_variable(name: str, feature: str) -> str | None:
    """Return an optional Variable; when it is unset, say once that its feature is off."""
    value = Variable.get(name, default=None)
    if not value:
        log.info("Variable %s is not set: %s is off", name, feature)
        return None
    return str(value)


def archive_folder() -> ObjectStoragePath:
    """Return where the carriers' answers are archived: Variable ``amop_archive_path``, else a folder of Airflow's home.

    The Variable is a URL of Airflow's object storage, such as ``s3://aws_default@bucket/prefix`` (the part before the
    ``@`` is a connection) or ``file:///var/lib/amop``.
    """
    location = Variable.get(ids.ARCHIVE_PATH_VARIABLE, default=None)
    if not location:
        home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
        location = (home / "amop_archive").as_uri()
        log.info("Variable %s is not set: the archive is %s", ids.ARCHIVE_PATH_VARIABLE, location)
    return ObjectStoragePath(str(location))


def _extra(connection: Connection) -> dict[str, Any]:
    extra = json.loads(connection.extra) if connection.extra else {}
    return extra if isinstance(extra, dict) else {}
