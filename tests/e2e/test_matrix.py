"""Every task of a day fails for good, its cause is removed, and an operator presses a handle: the covering subset.

`make matrix` plays the whole matrix and writes its table into docs/reliability.md.
"""

from __future__ import annotations

from sandbox.world.airflow_api import AirflowApi
from sandbox.world.world import World
from tests.worlds.e2e_world import ON_THE_WORLD
from tests.worlds.matrix import play, text_of
from tests.worlds.matrix_cells import Action
from tests.worlds.matrix_plan import Plan, covering_subset

pytestmark = ON_THE_WORLD


def test_whatever_an_operator_presses_a_failed_day_ends_as_an_undisturbed_one_or_says_what_to_do(
    world: World, api: AirflowApi
) -> None:
    plan = Plan()
    covering_subset(plan)
    outcomes = play(world, api, plan, follows=False)
    ends_the_run = {Action.MARK_FAILED, Action.DELETE_RUN}
    wrong = [
        outcome
        for outcome in outcomes
        if not outcome.is_right or (outcome.differences and outcome.cell.action not in ends_the_run)
    ]
    assert not wrong, "\n".join(text_of(outcome) for outcome in wrong)
