"""The command line of the sandbox world; the Makefile calls it: demo, up, down, airflow, amop, break, fix."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amop import ids
from sandbox.carrier.rate_limit import CALLS_PER_WINDOW
from sandbox.demo.billing_cycle import run_demo
from sandbox.demo.first_look import run_first_look
from sandbox.world.airflow_api import AirflowApi, AirflowApiError
from sandbox.world.breakages import Breakage, Parts, break_part, repair
from sandbox.world.lifecycle import is_up, print_addresses, running, start, stop
from sandbox.world.supervisor import WorldError
from sandbox.world.world import ROOT, World

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Start, use and stop the sandbox world.",
)
# A log file has no width. Use a fixed one, so that tables are not folded.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)

Devices = Annotated[
    int, typer.Option("--devices", help="Number of SIMs in each Control Center account; a tenth in the others.")
]
Latency = Annotated[float, typer.Option("--latency-ms", help="Mean response time of the sandbox carrier.")]
CallsPerSecond = Annotated[int, typer.Option(min=1, help="Limit of each API user of the sandbox carrier.")]

FirstLook = Annotated[
    bool,
    typer.Option(help="Sync two carriers, and fill every view of the operators' page; without it all DAGs are paused."),
]


@app.command()
def demo(devices: Devices = 2000, latency_ms: Latency = 20) -> None:
    """Run a whole billing cycle, check every figure, and stop the world. Exit status 0 if all checks pass."""
    world = World(devices_per_account=devices, latency_ms=latency_ms)
    with _reported_errors(), running(world, console), _paused_optimization_window(world):
        is_proved = run_demo(world, console)
    raise typer.Exit(0 if is_proved else 1)


@app.command()
def up(
    devices: Devices = 400,
    latency_ms: Latency = 20,
    calls_per_second: CallsPerSecond = CALLS_PER_WINDOW,
    *,
    first_look: FirstLook = True,
) -> None:
    """Start the world with the Airflow UI, sync two carriers, fill the operators' page, and leave it running."""
    world = World(devices_per_account=devices, latency_ms=latency_ms, calls_per_second=calls_per_second)
    with _reported_errors():
        if is_up(world):
            console.print("The sandbox world is already running.")
        else:
            try:
                start(world, console)
            except BaseException:
                stop(world)
                raise
        if first_look:
            run_first_look(world, console)
    print_addresses(world, console)
    console.print(NEXT_COMMANDS)


NEXT_COMMANDS = """\
What to do next:
  open the operators' page: the rate plan changes of AT&T Control Center await approval; the savings of T-Mobile came
    true, and a sync of it found a malformed record, a SIM in other equipment, and one on a plan that it may not have
  make amop ARGS="status"                               providers, syncs, savings, messages
  make amop ARGS="approvals list"                       what awaits approval
  make airflow ARGS="dags trigger device_sync_rogers"   sync another carrier
  make break WHAT=key                                   practise the runbook: key, carrier, amop, bucket, row; make fix
  make down                                             stop the world; its data stays"""


@app.command()
def down() -> None:
    """Stop the world and keep its data in .world."""
    world = World()
    if world.settings_file.exists():
        world.load()
        stop(world)
    console.print("The sandbox world is stopped.")


TEST_OPTIONS_WITH_VALUE = frozenset({"-B", "--bundle-name", "-t", "--task-params", "--env-vars", "--map-index"})
"""Options of ``airflow tasks test`` that are followed by a value."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def airflow(context: typer.Context) -> None:
    """Run the airflow command line in the environment of the running world."""
    if is_test_without_date(context.args):
        console.print(
            "Give a date or a run id: airflow tasks test DAG_ID TASK_ID 2026-11-20. Without one Airflow deletes the "
            "run of this DAG that has no logical date, such as a manual run or one that waits for an approval."
        )
        raise typer.Exit(2)
    world = _running_world()
    program = str(Path(sys.executable).with_name("airflow"))
    with _paused_for_test_command(world, context.args):
        done = subprocess.run([program, *context.args], env=world.environment(), check=False)
    raise typer.Exit(done.returncode)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def amop(context: typer.Context) -> None:
    """Run the command line of the package in the environment of the running world."""
    world = _running_world()
    done = subprocess.run(
        [sys.executable, "-m", "amop.cli", *context.args], env=world.environment(), cwd=ROOT, check=False
    )
    raise typer.Exit(done.returncode)


@app.command(name="break")
def break_(what: Annotated[Breakage, typer.Argument(help="What to break.")]) -> None:
    """Break one part of the running world, to practise the runbook; `fix` repairs it."""
    parts = _parts_of(_running_world())
    with _reported_errors():
        console.print(break_part(what, parts))
        console.print("Find it by docs/runbook.md, then repair it with: make fix")


@app.command()
def fix() -> None:
    """Repair what `break` broke."""
    parts = _parts_of(_running_world())
    with _reported_errors():
        repair(parts)
        console.print("Every part of the sandbox works again. What failed is resumed as docs/runbook.md says.")


def is_test_without_date(arguments: list[str]) -> bool:
    """Return True for ``tasks test`` without a date or run id, which deletes a real run."""
    if arguments[:2] != ["tasks", "test"]:
        return False
    values = iter(arguments[2:])
    given = 0
    for value in values:
        if value in TEST_OPTIONS_WITH_VALUE:
            next(values, None)
        elif not value.startswith("-"):
            given += 1
    return given < 3 and not {"-h", "--help"} & set(arguments)


def _running_world() -> World:
    world = World()
    if not is_up(world):
        console.print("The sandbox world is not running. Start it with: make up")
        raise typer.Exit(1)
    return world


def _parts_of(world: World) -> Parts:
    return Parts(world.ports["carrier"], world.ports["amop"], world.aws_address)


@contextmanager
def _paused_for_test_command(world: World, arguments: list[str]) -> Iterator[None]:
    """Pause the DAG of a ``dags test`` or ``tasks test`` command, so that the scheduler does not run it as well."""
    if arguments[1:2] != ["test"] or len(arguments) < 3 or arguments[2].startswith("-"):
        yield
        return
    with AirflowApi(world.ui_address).paused(arguments[2]):
        yield


@contextmanager
def _paused_optimization_window(world: World) -> Iterator[None]:
    """Pause `optimization_window`: its sessions would change the figures of the demo."""
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({ids.OPTIMIZATION_WINDOW_DAG}, unpause=False)
    with api.paused(ids.OPTIMIZATION_WINDOW_DAG):
        yield


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Print an expected error without a traceback and exit with a failure status."""
    try:
        yield
    except (WorldError, AirflowApiError, RuntimeError) as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", markup=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Interrupted. All processes are stopped.")
        raise typer.Exit(130) from None
