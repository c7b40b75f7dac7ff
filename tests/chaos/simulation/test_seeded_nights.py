"""Nights with faults that no one placed by hand: whatever a seed draws, the invariants hold.

`make simulate SEEDS=1000` runs more of them. A seed that has failed once is added to `KEPT_SEEDS` and run for ever.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from amop.device_sync import merge
from tests.conftest import TEMPLATE
from tests.worlds.faulty_process import FaultyProcess, Killed, installed
from tests.worlds.provider_nights import NIGHTS
from tests.worlds.reliability import RecordFault
from tests.worlds.seeded_faults import Fault, Kind, Step, draw_faults
from tests.worlds.seeded_nights import Simulation

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

# A killed process closes nothing; here its sockets and connections are left to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FRESH = int(os.environ.get("AMOP_SEEDS", "30"))
"""Number of fresh seeds."""
PER_TEST = 5
KEPT_SEEDS = (375_077_760, 241)


@pytest.fixture(scope="module")
def simulation(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with installed():
        made = Simulation(postgres_server, TEMPLATE, tmp_path_factory.mktemp("nights"))
        yield made
        made.close()


@pytest.mark.parametrize("part", range(-(-FRESH // PER_TEST)))
def test_fresh_seeds_hold_every_invariant(simulation: Simulation, reliability: RecordFault, part: int) -> None:
    # CI draws the same seeds every time, like the examples of Hypothesis (conftest.py); elsewhere they are fresh.
    dice = random.Random(part) if "CI" in os.environ else random.SystemRandom()
    seeds = [dice.randrange(10**9) for _ in range(min(PER_TEST, FRESH - part * PER_TEST))]
    verdicts = [simulation.judge(seed) for seed in seeds]
    failed = [verdict for verdict in verdicts if verdict.problems]
    assert not failed, "\n".join(map(str, failed))
    reliability(
        fault="drawn from seeds: kills, cut connections, full disks, outages of carrier, AMOP, queue, archive, second "
        "starts, cleared tasks, replays, wrong clocks, refused keys, wrong records",
        injected=sum(len(verdict.faults) for verdict in verdicts),
        expected="the rows of undisturbed nights, or a reason; the carrier's truth after the next night",
        seen=f"0 of {len(seeds)} seeds differ, {len(seeds) * NIGHTS} nights",
    )


def test_seeds_that_once_failed_hold_every_invariant(simulation: Simulation) -> None:
    failed = [verdict for seed in KEPT_SEEDS if (verdict := simulation.judge(seed)).problems]
    assert not failed, "\n".join(map(str, failed))


def test_a_seed_repeats_its_faults_and_many_seeds_draw_faults_of_every_kind(simulation: Simulation) -> None:
    counts = simulation.undisturbed(0).counts
    assert draw_faults(7, counts) == draw_faults(7, counts) != draw_faults(8, counts)
    drawn = [fault for seed in range(300) for fault in draw_faults(seed, counts)]
    assert {fault.kind for fault in drawn} == set(Kind) - {Kind.CRASH}, "a crash needs a server of its own"
    assert {(fault.place, fault.is_after) for fault in drawn if fault.kind == Kind.KILL} == {
        (place, is_after) for place in ("statement", "commit", "call") for is_after in (False, True)
    }
    steps_with_statements = {step for _, step, place in counts if place == "statement"}
    assert len(steps_with_statements) >= 20, "faults reach every step that touches the warehouse"


def test_a_planted_mistake_is_found_and_the_faults_that_do_not_matter_are_left_out(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = simulation.undisturbed(0)
    monkeypatch.setattr(merge, "record_synced_usage", lambda *_: 0)
    faults = draw_faults(7, expected.counts)
    problems = simulation.problems_of(0, faults)
    assert any("its days have 0" in problem for problem in problems)


def test_a_killed_process_sends_nothing_more_and_its_faults_happen_once(simulation: Simulation) -> None:
    kill = Fault(0, Kind.KILL, Step.MERGE, "statement", nth=3)
    process = FaultyProcess([kill])
    done: list[int] = []
    for _ in range(2):
        with suppress(Killed), process.running():
            try:
                for number in range(5):
                    process.does("statement", None, partial(done.append, number))
            finally:
                process.does("statement", None, partial(done.append, -1))
    assert done == [0, 1, 0, 1, 2, 3, 4, -1]
    assert process.happened == [kill]


@pytest.mark.parametrize("fleet", range(3))
def test_a_night_without_usage_in_the_carriers_answers_sends_no_plan_change_and_costs_nothing(
    simulation: Simulation, fleet: int
) -> None:
    undisturbed = simulation.undisturbed(fleet)
    assert (1, Step.APPLY, "call") in undisturbed.counts, "on a right answer plans are changed in that night"
    wrong = simulation.run(fleet, [Fault(1, Kind.USAGE_VANISHED, Step.OPEN)])
    assert (wrong.lost_nights, wrong.problems) == ([1], [])
    assert {night for night, step, _ in wrong.counts if step == Step.APPLY} == {0}
    assert set(wrong.rows["rate_plan_change"]) < set(undisturbed.rows["rate_plan_change"])
