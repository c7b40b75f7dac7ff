"""Find the warehouse of a command: an environment variable, else Airflow's connection."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from amop import ids
from amop.database.conninfo import ConnectionFormError, conninfo_from_airflow_connection, conninfo_from_fields

WAREHOUSE_VARIABLE = f"AIRFLOW_CONN_{ids.WAREHOUSE_CONNECTION.upper()}"


class WarehouseNotDefinedError(RuntimeError):
    """Neither the environment nor Airflow defines the warehouse."""


def warehouse_conninfo() -> str:
    """Return the libpq connection string of the warehouse.

    Raises:
        WarehouseNotDefinedError: no connection is defined; the message says how to define one.
        ConnectionFormError: the connection is malformed; the message contains no part of it.
    """
    value = os.environ.get(WAREHOUSE_VARIABLE)
    if value:
        try:
            return conninfo_from_airflow_connection(value)
        except ConnectionFormError as error:
            raise ConnectionFormError(f"{WAREHOUSE_VARIABLE}: {error}") from None
    return _airflow_conninfo()


def _airflow_conninfo() -> str:
    """Return the connection string of Airflow's connection: secrets backend or metadata database."""
    missing = f"no warehouse: set {WAREHOUSE_VARIABLE}, or define Airflow's connection {ids.WAREHOUSE_CONNECTION}"
    with contextlib.redirect_stdout(sys.stderr):  # Airflow logs to standard output, which must contain only the JSON
        try:
            from airflow.models.connection import Connection
            from airflow.sdk.exceptions import AirflowException
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError:
            raise WarehouseNotDefinedError(f"{missing} (Airflow is not installed here)") from None
        logging.disable(logging.WARNING)
        try:
            connection = Connection.get_connection_from_secrets(ids.WAREHOUSE_CONNECTION)
            return conninfo_from_fields(
                host=connection.host,
                port=connection.port,
                login=connection.login,
                password=connection.password,
                schema=connection.schema,
                extra=connection.extra_dejson,
            )
        except (AirflowException, SQLAlchemyError):
            raise WarehouseNotDefinedError(missing) from None
        finally:
            logging.disable(logging.NOTSET)
