"""Start and stop the sandbox world, and run ``bin/amop`` in it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from sandbox.carrier.reference_file import write_reference
from sandbox.world.aws_resources import create_aws_resources
from sandbox.world.supervisor import Supervisor, WorldError
from sandbox.world.world import AIRFLOW_DATABASE, ROOT, WAREHOUSE_DATABASE, World

POOLS_FILE = ROOT / "include" / "airflow" / "pools.json"


@contextmanager
def running(world: World, console: Console) -> Iterator[None]:
    """Start the world and stop it at the end. A world that is already running is used and left running."""
    if is_up(world):
        console.print("Using the world that `make up` started; it stays running.")
        yield
        return

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        start(world, console)
        yield
    finally:
        with console.status("Stopping"):
            stop(world)


def start(world: World, console: Console) -> None:
    """Start all processes, migrate the databases, load the reference data and create the AWS resources.

    Raises:
        WorldError: a process did not start or a command failed; the message says which and why.
    """
    world.prepare()
    console.print(f"Sandbox world in {world.directory}")
    postgres = world.postgres()
    with console.status("Starting PostgreSQL"):
        postgres.start()
        for name in (AIRFLOW_DATABASE, WAREHOUSE_DATABASE):
            postgres.create_database(name)
    console.print("  ready: postgres")
    with console.status("Migrating Airflow's database and the warehouse"):
        _run(world, "airflow", "db", "migrate")
        _run(world, "airflow", "pools", "import", str(POOLS_FILE))
        _run(world, "python", "-m", "amop.cli", "migrate")
        write_reference(world.reference_file)
        _run(world, "python", "-m", "amop.cli", "load-reference", str(world.reference_file))
    console.print("  ready: databases, reference data")
    supervisor = Supervisor(world)
    supervisor.start()
    with console.status("Starting Airflow, carrier, AMOP and AWS emulator"):
        for name in supervisor.wait_until_healthy():
            console.print(f"  ready: {name}")
    create_aws_resources(world.aws_address)


def stop(world: World) -> None:
    """Stop all running processes of the world."""
    Supervisor(world).stop()
    world.postgres().stop()


def is_up(world: World) -> bool:
    """Load the world's settings and return whether its processes are running."""
    if not world.settings_file.exists():
        return False
    world.load()
    return Supervisor(world).is_running()


def print_addresses(world: World, console: Console) -> None:
    """Print the addresses of all parts of the world."""
    console.print(f"operators' page {world.ui_address}/plugin/amop")
    console.print(f"Airflow UI      {world.ui_address}")
    console.print(f"carrier         {world.carrier_address}/sandbox/stats")
    console.print(f"AMOP            {world.amop_address}/sandbox/messages")
    console.print(f"AWS emulator    {world.aws_address}/moto-api/")
    console.print(f"PostgreSQL      127.0.0.1:{world.ports['postgres']}, role amop, password in {world.settings_file}")


def amop_command(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``bin/amop`` in the environment of the world, as an operator would."""
    return subprocess.run(
        [ROOT / "bin" / "amop", *arguments],
        env=world.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def _run(world: World, program: str, *arguments: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        env=world.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WorldError(f"{program} {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
