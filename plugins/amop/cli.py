"""The package's own commands, ``python -m amop.cli``: migrate, load-reference, status, quarantine, optimize, approvals.

The warehouse is the one of the environment variable ``AIRFLOW_CONN_AMOP_WAREHOUSE``, else Airflow's
connection ``amop_warehouse``. Exit status: 0 done, 1 failed, 2 wrong usage, wrong file or no warehouse
defined.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from amop import cli_approvals, ids
from amop.cli_optimize import optimize_command
from amop.cli_quarantine import quarantine_commands
from amop.domain.reference_file import ReferenceFileError
from amop.warehouse.conninfo import (
    ConnectionFormError,
    conninfo_from_airflow_connection,
    conninfo_from_fields,
)
from amop.warehouse.migrations import MigrationError, migrate
from amop.warehouse.reference import load_reference
from amop.warehouse.status import read_status

WAREHOUSE_VARIABLE = f"AIRFLOW_CONN_{ids.WAREHOUSE_CONNECTION.upper()}"

FAILED = 1
WRONG_USAGE = 2

app = typer.Typer(
    name="amop",
    help="AMOP: carrier device sync and rate-plan optimization.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("optimize")(optimize_command)


app.add_typer(cli_approvals.app, name="approvals")


class WarehouseNotDefinedError(RuntimeError):
    """Neither the environment nor Airflow says where the warehouse is."""


@app.command("migrate")
def migrate_command() -> None:
    """Create or update the warehouse's tables. Safe to repeat, also at the same time."""
    names = migrate(warehouse_conninfo())
    for name in names:
        typer.echo(f"applied {name}")
    if not names:
        typer.echo("nothing to do: the warehouse is up to date")


@app.command("load-reference")
def load_reference_command(
    file: Annotated[Path, typer.Argument(help="YAML: tenants, providers, rate plans, communication plans.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Load reference data: all of the file or nothing; only what differs is written."""
    counts = load_reference(warehouse_conninfo(), file)
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    columns = ("inserted", "updated", "unchanged", "removed", "not_in_file")
    rows = [(table, *(numbers.get(column, "") for column in columns)) for table, numbers in counts.items()]
    _print_table(f"Loaded {file.name}", ("table", *columns), rows)


@app.command("status")
def status_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Show providers, their last sync and optimization, realised savings, running sessions, messages, work left."""
    status = read_status(warehouse_conninfo())
    if as_json:
        typer.echo(json.dumps(status, indent=2, default=_as_json))
        return
    for title, key, columns in (
        (
            "Service providers",
            "service_providers",
            ("id", "name", "tenant", "integration", "is_active", "billing_period_end"),
        ),
        (
            "Last sync runs",
            "last_sync_runs",
            ("service_provider", "id", "status", "started_at", "ended_at", "pages", "devices_seen",
             "work_rows_left", "error"),
        ),
        (
            "Last optimizations",
            "last_optimizations",
            ("service_provider", "instance_id", "billing_period_end", "run_status", "device_count", "current_cost",
             "total_cost", "forecast_savings", "gap_percent", "error"),
        ),
        (
            "Their plan changes",
            "last_optimizations",
            ("service_provider", "instance_id", "proposed", "approved", "rejected", "applied", "conflict", "failed",
             "changes_status", "changes_decided_by", "changes_reason"),
        ),
        (
            "Realised savings of the last closed billing period",
            "realised_savings",
            ("service_provider", "instance_id", "billing_period_end", "applied_changes", "forecast_saving",
             "realised_saving", "projection_error_percent", "weighted_error_percent", "usage_read_at"),
        ),
        (
            "Running optimization sessions",
            "running_sessions",
            ("id", "service_provider", "progress", "started_at", "heartbeat_at"),
        ),
    ):  # fmt: skip
        _print_table(title, columns, ([row[column] for column in columns] for row in status[key]))
    outbox = status["outbox"]
    _print_table("Messages to AMOP", tuple(outbox), [tuple(outbox.values())])
    if status["dead_messages"]:
        _print_table(
            "Messages that AMOP refused (docs/runbook.md)",
            tuple(status["dead_messages"][0]),
            [tuple(row.values()) for row in status["dead_messages"]],
        )


def warehouse_conninfo() -> str:
    """Return the libpq connection string of the warehouse.

    Raises:
        WarehouseNotDefinedError: no connection is defined; the message says how to define one.
        ConnectionFormError: the connection is malformed; the message holds nothing of it.
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
    with contextlib.redirect_stdout(sys.stderr):  # Airflow logs to standard output, where --json must be alone
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


app.add_typer(quarantine_commands(warehouse_conninfo, lambda *table: _print_table(*table)), name="quarantine")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit; what can be expected to go wrong ends with one message and no traceback."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="amop")
    except ReferenceFileError as error:
        _fail(f"{error}\n{len(error.problems)} problem(s); nothing was loaded", WRONG_USAGE)
    except (WarehouseNotDefinedError, ConnectionFormError) as error:
        _fail(str(error), WRONG_USAGE)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        _fail("the warehouse has no such table: run `bin/amop migrate` first", FAILED)
    except (MigrationError, cli_approvals.ApprovalError) as error:
        _fail(str(error), FAILED)
    except psycopg.OperationalError as error:
        _fail(f"the warehouse cannot be reached: {' '.join(str(error).split())}", FAILED)
    except psycopg.Error as error:
        _fail(f"the warehouse refused: {' '.join(str(error).split())}", FAILED)
    raise SystemExit(0)


def _fail(message: str, exit_status: int) -> NoReturn:
    typer.echo(f"amop: {message}", err=True)
    raise SystemExit(exit_status)


def _print_table(title: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_as_text(value)) for value in row))
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        Console(width=200).print(table)  # a pipe or a file has no width: long lines instead of folded cells
    console.print()


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main()
