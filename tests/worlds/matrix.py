"""Play the whole matrix in a world of its own, print its table and write it into docs/reliability.md.

    python -m tests.worlds.matrix docs/reliability.md ["mark success"]

A second argument, a regular expression, selects cells by a part of their name, such as ``clear it$``; the other
cells of the table stay as they are.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import typer

from amop import ids
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.world import World
from tests.worlds.e2e_world import launch
from tests.worlds.fault_switch import FaultSwitch
from tests.worlds.matrix_days import Matrix, Outcome
from tests.worlds.matrix_plan import Plan, whole_matrix
from tests.worlds.matrix_prepared import sync_providers
from tests.worlds.matrix_table import write_chapter
from tests.worlds.matrix_world import SIMS, providers_of_matrix
from tests.worlds.scratch import scratch_directory

PATIENCE_SECONDS = 3600.0


def play(
    world: World, api: AirflowApi, plan: Plan, *, follows: bool = True, seconds: float = PATIENCE_SECONDS
) -> Iterator[Outcome]:
    """Play a plan in a running world, beside the undisturbed runs that it is compared with; yield the outcomes.

    Args:
        world: the world, with a fault switch.
        api: its Airflow.
        plan: the DAG runs to play.
        follows: do what the sentences say, and compare again.
        seconds: patience.
    """
    plan.add_undisturbed()
    integrations = {cell.provider.integration for group in plan.groups for cell in group.cells}
    dags = {group.dag_id for group in plan.groups} | {ids.carrier_optimization_dag(name) for name in integrations}
    api.wait_for_dags({*dags, ids.AMOP_RELAY_DAG})
    with providers_of_matrix(world, api, plan.providers, world.directory):
        sync_providers(world, api, plan.optimized_providers)
        yield from Matrix(world, api, follows=follows).play(plan.groups, seconds=seconds)


def main(document: Path, wanted: str = "") -> int:
    """Play the matrix and return the number of cells that are wrong."""
    plan = Plan()
    whole_matrix(plan, wanted)
    directory = scratch_directory("amop-matrix-")
    FaultSwitch(directory / "airflow").install()
    begun = time.monotonic()
    played, wrong = 0, 0
    try:
        started = launch(directory, "up", "--no-first-look", "--devices", str(SIMS), "--latency-ms", "2")
        assert started.returncode == 0, started.stdout + started.stderr
        world = World(directory)
        world.load()
        for outcome in play(world, AirflowApi(world.ui_address), plan):
            typer.echo(text_of(outcome))
            write_chapter(document, [outcome])  # what has been seen stays, even if the command is interrupted
            played, wrong = played + 1, wrong + (not outcome.is_right)
    finally:
        launch(directory, "down")
        shutil.rmtree(directory, ignore_errors=True)
    typer.echo(f"{played} days in {time.monotonic() - begun:.0f} s, {wrong} of them wrong")
    return wrong


def text_of(outcome: Outcome) -> str:
    """Return an outcome for the terminal; with the rows that differ, unless it is right by what its sentence says."""
    cell = outcome.cell
    lines = [f"{'ok   ' if outcome.is_right else 'WRONG'} {cell.task or 'neighbour'}, {cell.action or 'nothing'}: "
             + ("same rows" if not outcome.differences else outcome.sentence or "no sentence")]  # fmt: skip
    if outcome.followed:
        lines.append(f"      followed: {outcome.followed[:300]}")
    if not outcome.is_right or not outcome.followed:
        for table, rows in (outcome.left or outcome.differences).items():
            lines += [f"      {table}: {row[:4000]}" for row in rows[:4]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(min(1, main(Path(sys.argv[1]), *sys.argv[2:])))
