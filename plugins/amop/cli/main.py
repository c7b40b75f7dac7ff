"""The command line ``amop``, also ``python -m amop.cli``; each command group is a module of this package.

The warehouse is that of the environment variable ``AIRFLOW_CONN_AMOP_WAREHOUSE``, else Airflow's connection
``amop_warehouse``. Exit status: 0 success, 1 failure, 2 wrong usage, invalid file, unknown id or no warehouse
defined.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import psycopg
import typer

from amop import __version__
from amop.cli import approvals, carriers, messages, periods, quarantine, queue_messages, runs, sessions
from amop.cli.airflow_client import AirflowError
from amop.cli.connection import WarehouseNotDefinedError
from amop.cli.optimize import optimize_command
from amop.cli.output import print_text, printable
from amop.cli.status import status_command
from amop.cli.verify import verify_command
from amop.cli.warehouse import load_reference_command, migrate_command
from amop.database.conninfo import ConnectionFormError
from amop.database.migrations import MigrationError
from amop.maintenance import operations
from amop.reference.reference_file import ReferenceFileError
from amop.wording import several

FAILED = 1
WRONG_USAGE = 2

app = typer.Typer(
    name="amop",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("status")(status_command)
app.command("optimize")(optimize_command)
app.command("verify")(verify_command)
app.command("load-reference")(load_reference_command)
app.command("migrate")(migrate_command)
messages.app.command("received")(queue_messages.received_command)
messages.app.command("check")(queue_messages.check_command)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(approvals.app, name="approvals")
app.add_typer(runs.app, name="runs")
app.add_typer(sessions.app, name="sessions")
app.add_typer(messages.app, name="messages")
app.add_typer(carriers.app, name="carriers")
app.add_typer(periods.app, name="periods")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print_text(f"amop {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Sync carrier devices, optimize rate plans, and manage the warehouse."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit; print expected errors as one message without a traceback."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    _check_digits(sys.argv[1:] if arguments is None else arguments)
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="amop")
    except ReferenceFileError as error:
        _fail(f"{error}\n{several(len(error.problems), 'problem')}; nothing was loaded", WRONG_USAGE)
    except (WarehouseNotDefinedError, ConnectionFormError, operations.UnknownIdError) as error:
        _fail(str(error), WRONG_USAGE)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        _fail("the warehouse has no such table: run `bin/amop migrate` first", FAILED)
    except (MigrationError, AirflowError, operations.OperationError) as error:
        _fail(str(error), FAILED)
    except psycopg.OperationalError as error:
        _fail(f"the warehouse cannot be reached: {' '.join(str(error).split())}", FAILED)
    except psycopg.Error as error:
        _fail(f"the warehouse reported an error: {' '.join(str(error).split())}", FAILED)
    raise SystemExit(0)


def _check_digits(arguments: Sequence[str]) -> None:
    """Refuse numbers in other digits than 0 to 9: Python would read them, and an ICCID of them is none."""
    for argument in arguments:
        value = argument.partition("=")[2] if argument.startswith("--") else argument
        number = re.sub(r"[\s.,_+-]", "", value)
        if number.isdigit() and not number.isascii():
            _fail(f"{argument!r}: a number must be written with the digits 0 to 9", WRONG_USAGE)


class _PrintableFormatter(logging.Formatter):
    """Format log records without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _fail(message: str, exit_status: int) -> NoReturn:
    print_text(f"amop: {message}", to_stderr=True)
    raise SystemExit(exit_status)
