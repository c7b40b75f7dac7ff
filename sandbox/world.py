"""Start, use and stop the sandbox world; the Makefile's ``demo``, ``up``, ``down`` and ``airflow``.

The world is an embedded PostgreSQL, an AWS emulator, the sandbox carrier, the sandbox AMOP and Airflow itself
(api-server, scheduler, dag-processor, triggerer), all on loopback ports.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from amop import ids
from sandbox.airflow_api import AirflowApi, AirflowApiError
from sandbox.aws_resources import create_aws_resources
from sandbox.environment import AIRFLOW_DATABASE, ROOT, WAREHOUSE_DATABASE, World
from sandbox.fleet import write_reference
from sandbox.supervision import Supervisor, WorldError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
# A log has no width: wide tables instead of folded cells.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)

POOLS_FILE = ROOT / "include" / "airflow" / "pools.json"

Devices = Annotated[int, typer.Option("--devices", help="SIMs of each of the four carrier accounts.")]
Latency = Annotated[float, typer.Option("--latency-ms", help="How long the sandbox carrier takes for a call.")]


@app.command()
def demo(devices: Devices = 2000, latency_ms: Latency = 20) -> None:
    """Run a whole billing cycle: sync, optimization, approval, plan changes, savings; prove the result; stop."""
    from sandbox.demo import run_demo

    world = World(devices_per_account=devices, latency_ms=latency_ms)
    with _reported_errors(), running(world), _without_looks_of_the_hour(world):
        is_proved = run_demo(world, console)
    raise typer.Exit(0 if is_proved else 1)


@app.command()
def up(devices: Devices = 2000, latency_ms: Latency = 20) -> None:
    """Start the world and leave it running, with the Airflow UI."""
    world = World(devices_per_account=devices, latency_ms=latency_ms)
    with _reported_errors():
        if _is_up(world):
            console.print("The world is up already.")
        else:
            try:
                start(world)
            except BaseException:
                stop(world)
                raise
    show_addresses(world)
    console.print("Stop it with: make down")


@app.command()
def down() -> None:
    """Stop the world; its data stays in .world."""
    world = World()
    if world.settings_file.exists():
        world.load()
        stop(world)
    console.print("The world is down.")


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def airflow(context: typer.Context) -> None:
    """Run the airflow command line in the environment of the running world."""
    world = World()
    if not _is_up(world):
        console.print("The world is not up; start it with: make up")
        raise typer.Exit(1)
    program = str(Path(sys.executable).with_name("airflow"))
    with _paused_for_a_test(world, context.args):
        done = subprocess.run([program, *context.args], env=world.environment(), check=False)
    raise typer.Exit(done.returncode)


@contextmanager
def _paused_for_a_test(world: World, arguments: list[str]) -> Iterator[None]:
    """Keep the scheduler's hands off the run that ``dags test`` or ``tasks test`` creates and runs by itself."""
    if arguments[1:2] != ["test"] or len(arguments) < 3 or arguments[2].startswith("-"):
        yield
        return
    with AirflowApi(world.ui_address).paused(arguments[2]):
        yield


@contextmanager
def _without_looks_of_the_hour(world: World) -> Iterator[None]:
    """Keep `optimization_window` paused: a window that is open today would add sessions to the figures of the demo."""
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({ids.OPTIMIZATION_WINDOW_DAG}, unpause=False)
    with api.paused(ids.OPTIMIZATION_WINDOW_DAG):
        yield


@app.command()
def dag_list(target: Annotated[Path, typer.Argument(help="Markdown file to write.")]) -> None:
    """Write the list of the DAGs, made from the DAGs themselves."""
    from sandbox.dag_list import dag_list_markdown

    target.write_text(dag_list_markdown(), encoding="utf-8")


@contextmanager
def running(world: World) -> Iterator[None]:
    """Start the world and stop it in the end; one that is up already is used and left up."""
    if _is_up(world):
        console.print("Using the world that `make up` started; it stays up.")
        yield
        return

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        start(world)
        yield
    finally:
        with console.status("Stopping"):
            stop(world)


def start(world: World) -> None:
    """Start every part of the world and bring its databases, reference data, queue and bucket up to date.

    Raises:
        WorldError: a part did not start or a command failed; the message says which and why.
    """
    world.prepare()
    console.print(f"World in {world.directory}")
    postgres = world.postgres()
    with console.status("PostgreSQL"):
        postgres.start()
        for name in (AIRFLOW_DATABASE, WAREHOUSE_DATABASE):
            postgres.create_database(name)
    console.print("  ready: postgres")
    with console.status("Airflow's database, the warehouse"):
        _run(world, "airflow", "db", "migrate")
        _run(world, "airflow", "pools", "import", str(POOLS_FILE))
        _run(world, "python", "-m", "amop.cli", "migrate")
        write_reference(world.reference_file)
        _run(world, "python", "-m", "amop.cli", "load-reference", str(world.reference_file))
    console.print("  ready: databases, reference data")
    supervisor = Supervisor(world)
    supervisor.start()
    with console.status("Airflow, carrier, AMOP, AWS emulator"):
        for name in supervisor.wait_until_healthy():
            console.print(f"  ready: {name}")
    create_aws_resources(world.aws_address)


def stop(world: World) -> None:
    """Stop every part of the world that runs."""
    Supervisor(world).stop()
    world.postgres().stop()


def show_addresses(world: World) -> None:
    """Print where the parts of the world are."""
    console.print(f"Airflow UI      {world.ui_address}")
    console.print(f"carrier         {world.carrier_address}/sandbox/stats")
    console.print(f"AMOP            {world.amop_address}/sandbox/messages")
    console.print(f"AWS emulator    {world.aws_address}/moto-api/")
    console.print(f"PostgreSQL      127.0.0.1:{world.ports['postgres']}, role amop, password in {world.settings_file}")


def _is_up(world: World) -> bool:
    if not world.settings_file.exists():
        return False
    world.load()
    return Supervisor(world).is_running()


def _run(world: World, program: str, *arguments: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        env=world.environment(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise WorldError(f"{program} {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-4000:]}")


@contextmanager
def _reported_errors() -> Iterator[None]:
    try:
        yield
    except (WorldError, AirflowApiError, RuntimeError) as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", markup=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
