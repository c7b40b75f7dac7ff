"""Seeds: each decides on the fleet of a provider and on the faults of two of its nights; a third night has none.

Each night is the whole chain: list, usage, archive, merge, optimization, plan changes, messages
(`tests.worlds.provider_nights`). A seed and a commit repeat the same nights. A failure is reported with the fewest
faults that still fail.
"""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from sandbox.amop.running import running_amop
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import SimulatedDatetime, machine_time
from tests.worlds.night_outcome import Outcome, differences
from tests.worlds.night_steps import FIRST_NIGHT
from tests.worlds.provider_nights import NIGHTS, SIMS, ProviderNights
from tests.worlds.sandbox_reference import load_sandbox_reference
from tests.worlds.seeded_faults import (
    LOSES_A_NIGHT,
    MOVES_TIME,
    Fault,
    draw_faults,
)

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

FLEETS = 4
"""Different fleets, each with an undisturbed run that the disturbed ones are compared with."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one seed."""

    seed: int
    faults: Sequence[Fault]
    problems: Sequence[str]
    """None = the seed has passed."""

    def __str__(self) -> str:
        """Describe the failure so that it can be repeated."""
        lines = [f"seed {self.seed}:", *(f"  {fault}" for fault in self.faults), *(f"  -> {p}" for p in self.problems)]
        return "\n".join(lines)


class Simulation:
    """Runs seeds, each in a warehouse of its own.

    Args:
        server: of the warehouses, with a migrated template database.
        template: name of the template database.
        folder: for archives.
    """

    def __init__(self, server: EmbeddedPostgres, template: str, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._undisturbed: dict[int, Outcome] = {}
        self._template = f"nights_{secrets.token_hex(6)}"
        server.create_database(self._template, template=template)
        _furnish(server.conninfo(self._template))

    def close(self) -> None:
        """Remove the template of the warehouses."""
        self._server.drop_database(self._template)

    def undisturbed(self, fleet: int) -> Outcome:
        """Return what the nights of a fleet leave without faults."""
        if fleet not in self._undisturbed:
            outcome = self.run(fleet, [])
            assert (outcome.lost_nights, outcome.problems) == ([], []), outcome.problems
            self._undisturbed[fleet] = outcome
        return self._undisturbed[fleet]

    def judge(self, seed: int) -> Verdict:
        """Run a seed; on a failure, return the fewest faults that still fail."""
        fleet = seed % FLEETS
        faults: Sequence[Fault] = draw_faults(seed, self.undisturbed(fleet).counts)
        problems = self.problems_of(fleet, faults)
        if problems:
            faults, problems = self._shrunk(fleet, faults, problems)
        return Verdict(seed, faults, problems)

    def problems_of(self, fleet: int, faults: Sequence[Fault]) -> Sequence[str]:
        """Return what is wrong after the nights of a fleet with these faults."""
        expected = self.undisturbed(fleet)
        try:
            outcome = self.run(fleet, faults)
        except Exception as error:  # reported with its seed, and shrunk, like every other failure
            return ["".join(traceback.format_exception(error))]
        problems = list(outcome.problems)
        kinds = {fault.kind for fault in faults}
        if kinds & LOSES_A_NIGHT:
            return problems
        if outcome.lost_nights:
            # Several faults together may use up all tries of a step; one alone may not.
            return [*problems, *([f"nights {list(outcome.lost_nights)} were lost"] if len(faults) == 1 else [])]
        return [*problems, *differences(expected, outcome, has_moved_time=bool(kinds & MOVES_TIME))]

    def _shrunk(
        self, fleet: int, faults: Sequence[Fault], problems: Sequence[str]
    ) -> tuple[Sequence[Fault], Sequence[str]]:
        for fault in list(faults):
            fewer = [other for other in faults if other is not fault]
            if fewer and (still := self.problems_of(fleet, fewer)):
                faults, problems = fewer, still
        return faults, problems

    def run(self, fleet: int, faults: Sequence[Fault]) -> Outcome:
        """Run the nights of a fleet with these faults and return what they leave."""
        name = f"night_{secrets.token_hex(6)}"
        self._server.create_database(name, template=self._template)
        folder = self._folder / name
        folder.mkdir()
        offset = SimulatedDatetime.offset
        try:
            SimulatedDatetime.offset = FIRST_NIGHT - machine_time()
            with (
                running_carrier(
                    devices_per_account=SIMS,
                    seed=fleet + 1,
                    accounts=("jasper",),
                    limits_are_enforced=False,
                    as_of=FIRST_NIGHT - timedelta(days=1),
                ) as carrier,
                running_amop() as amop,
            ):
                nights = ProviderNights(self._server, name, folder, carrier, amop, fleet, faults)
                for number in range(NIGHTS):
                    nights.run(number)
                return nights.outcome()
        finally:
            SimulatedDatetime.offset = offset
            self._server.drop_database(name)


def _furnish(dsn: str) -> None:
    load_sandbox_reference(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE amop.service_provider SET write_is_enabled = true, can_auto_update_rate_plans = true,"
            " detail_calls_per_run = 4, maximum_changes = 3"
        )
