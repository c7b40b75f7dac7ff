"""Clients built from Airflow's connections and Variables."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook, Connection, ObjectStoragePath, Variable, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowTaskTimeout
from airflow.sdk.log import mask_secret

from amop import ids, time_limits
from amop.carriers.http_connection import HttpConnectionError, read_http_connection
from amop.config import KNOWN_INTEGRATIONS
from amop.database.clock import warehouse_clock
from amop.database.connection import with_statement_limit
from amop.database.conninfo import conninfo_from_fields
from amop.foreign_text import remember_secrets, storable_error

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    from amop.carriers.account import CarrierAccount
    from amop.carriers.protocol import CarrierClient
    from amop.messages.amop_client import AmopClient

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

    Its sessions cancel a statement well before the running task's own time limit.

    Raises:
        AirflowNotFoundException: the connection is not defined; the message names it.
    """
    try:
        task_limit = get_current_context()["task"].execution_timeout
    except RuntimeError:  # no task is running
        task_limit = None
    connection = BaseHook.get_connection(ids.WAREHOUSE_CONNECTION)
    _hide(connection.password, user=connection.login)
    return with_statement_limit(conninfo_of(connection), time_limits.longest_statement(task_limit))


def warehouse_now() -> datetime:
    """Return the present time of the warehouse's clock.

    Raises:
        WorkerClockError: this machine's clock differs from it by more than a minute.
    """
    return warehouse_clock(warehouse_conninfo())()


def aws_hook(hook_class: Callable[..., Hook], **arguments: Any) -> Hook:
    """Return a hook on connection ``aws_default`` whose calls have time limits and verify certificates.

    Args:
        hook_class: Airflow's hook for an AWS service.
        **arguments: further arguments of the hook.

    Raises:
        AirflowFailException: the connection disables certificate verification for another machine.
    """
    from botocore.config import Config

    limits = Config(
        connect_timeout=time_limits.AWS_CONNECT.total_seconds(),
        read_timeout=time_limits.AWS_READ.total_seconds(),
        retries={"total_max_attempts": time_limits.AWS_ATTEMPTS, "mode": "standard"},
    )
    settings = hook_class(aws_conn_id=ids.AWS_CONNECTION).conn_config
    _hide(settings.aws_secret_access_key, settings.aws_session_token, user=settings.aws_access_key_id)
    if settings.verify is not None:
        endpoint = settings.endpoint_url or "https://amazonaws.com"
        try:
            read_http_connection(endpoint, None, None, {"verify": settings.verify})
        except HttpConnectionError as error:
            raise AirflowFailException(f"connection {ids.AWS_CONNECTION}: {error}") from None
    own = settings.botocore_config
    return hook_class(aws_conn_id=ids.AWS_CONNECTION, config=own.merge(limits) if own else limits, **arguments)


def carrier_account(connection_id: str, service_provider_name: str, integration: str) -> CarrierAccount:
    """Return the carrier account behind an ``http`` connection: address, credentials and rate limit.

    Args:
        connection_id: the provider's connection.
        service_provider_name: used in messages.
        integration: the provider's integration, whose family has the rate limit.

    Raises:
        CarrierError: the connection is unusable, for instance without TLS.
        AirflowNotFoundException: the connection is not defined; the message names it.
    """
    from amop.carriers.account import CarrierAccount

    connection = BaseHook.get_connection(connection_id)
    extra = _extra(connection)
    _hide(connection.password, user=connection.login)
    secret = extra.get("client_secret")
    _hide(secret if isinstance(secret, str) else None, user=extra.get("client_id"))
    limits = KNOWN_INTEGRATIONS[integration].api.limits
    return CarrierAccount.from_connection_fields(
        connection_id=connection_id,
        service_provider_name=service_provider_name,
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=extra,
        **({"calls_per_second": limits.calls_per_second} if limits else {}),
    )


def carrier_client(
    connection_id: str, service_provider_name: str, integration: str, *, may_write: bool = False
) -> CarrierClient:
    """Return a client of the carrier account behind an ``http`` connection, with one rate limit across all processes.

    Args:
        connection_id: the provider's connection.
        service_provider_name: used in messages.
        integration: the provider's integration, whose family selects the client.
        may_write: the provider's ``write_is_enabled``; False refuses every write before it is sent.

    Raises:
        CarrierError: the connection is unusable, for instance without TLS, or the family has no client.
        AirflowNotFoundException: the connection is not defined; the message names it.
    """
    from amop.carriers.call_gate import PostgresCallGate
    from amop.carriers.registry import client_of

    account = carrier_account(connection_id, service_provider_name, integration)
    gate = PostgresCallGate(warehouse_conninfo(), account.gate_key, account.calls_per_second, account=account.label)
    return client_of(KNOWN_INTEGRATIONS[integration].family, account, gate, may_write=may_write)


def amop_client() -> AmopClient | None:
    """Return a client of AMOP's API, None where connection ``amop_api`` is not defined; callbacks then stay queued."""
    from amop.messages.amop_client import AmopClient

    try:
        connection = BaseHook.get_connection(ids.AMOP_API_CONNECTION)
    except AirflowNotFoundException:
        log.warning("Connection %s is not defined: callbacks stay in amop.amop_outbox", ids.AMOP_API_CONNECTION)
        return None
    _hide(connection.password)
    return AmopClient.from_connection_fields(
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        password=connection.password,
        extra=_extra(connection),
    )


def deliver_session_messages(*session_ids: int | None) -> None:
    """Send the pending messages of sessions now; those that fail stay for the relay, and so do all that follow them."""
    for session_id in session_ids:
        if session_id is not None and not _deliver(session_id=session_id):
            break


def deliver_message(dedupe_key: str) -> None:
    """Send one message of the outbox now; if that fails it stays for the relay."""
    _deliver(dedupe_key=dedupe_key)


def _deliver(**which: Any) -> bool:
    """Send messages now; return whether AMOP took them. Neither an error nor the task's time limit ends the task."""
    from amop.messages.delivery import deliver_outbox

    try:
        client = amop_client()
        if client is None:
            return False
        with client:
            return not deliver_outbox(warehouse_conninfo(), client, **which).pending
    except (Exception, AirflowTaskTimeout) as error:  # the message is safe in the outbox
        cause = storable_error(error) or type(error).__name__
        log.warning("AMOP did not accept a message now, the relay will retry it: %s", cause)
        return False


def notifier_connection(connection_id: str) -> None:
    """Check the ``http`` connection of a webhook, and keep its secrets out of stored texts and logs.

    Raises:
        HttpConnectionError: it has no usable host, or no TLS for a host that is not a loopback address.
        AirflowNotFoundException: the connection is not defined; the message names it.
    """
    connection = BaseHook.get_connection(connection_id)
    headers = {name: value for name, value in _extra(connection).items() if isinstance(value, str)}
    path = (connection.host or "").partition("://")[2].partition("/")[2]
    _hide(connection.password, path, *headers.values(), user=connection.login)
    # Airflow's hook calls by http where neither host nor schema says otherwise.
    read_http_connection(connection.host, connection.schema or "http", connection.port, {})


def optional_variable(name: str, feature: str) -> str | None:
    """Return an optional Variable; when it is unset, log that its feature is off and return None."""
    value = Variable.get(name, default=None)
    if not value:
        log.info("Variable %s is not set: %s is off", name, feature)
        return None
    return str(value)


def archive_folder() -> ObjectStoragePath:
    """Return the archive of carrier responses: Variable ``amop_archive_path``, else a folder in Airflow's home.

    The Variable is a URL of Airflow's object storage, such as ``s3://aws_default@bucket/prefix`` (the part before the
    ``@`` is a connection) or ``file:///var/lib/amop``. The secrets of the connection are kept out of stored texts.

    Raises:
        AirflowNotFoundException: the connection is not defined; the message names it.
    """
    location = Variable.get(ids.ARCHIVE_PATH_VARIABLE, default=None)
    if not location:
        home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
        location = (home / "amop_archive").as_uri()
        log.info("Variable %s is not set: the archive is %s", ids.ARCHIVE_PATH_VARIABLE, location)
    path = ObjectStoragePath(str(location))
    if path.conn_id:
        connection = BaseHook.get_connection(path.conn_id)
        extra = _extra(connection).items()
        in_extra = [value for name, value in extra if isinstance(value, str) and _SECRET_FIELD.search(name)]
        _hide(connection.password, *in_extra, user=connection.login)
    return path


def _hide(*secrets: str | None, user: str | None = None) -> None:
    """Keep secrets out of stored texts, and, in every form, out of Airflow's logs."""
    for form in remember_secrets(*secrets, user=user):
        mask_secret(form)


_SECRET_FIELD = re.compile("secret|token|password|key", re.IGNORECASE)
"""Names of the secret fields in the extra of the connections of Airflow's object storages."""


def _extra(connection: Connection) -> dict[str, Any]:
    extra = json.loads(connection.extra) if connection.extra else {}
    return extra if isinstance(extra, dict) else {}
