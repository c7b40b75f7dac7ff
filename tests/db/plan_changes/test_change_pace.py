"""The pace of a provider's plan changes, measured in those that were applied."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amop.plan_changes.pace import FEWEST_INTERVALS, read_measured_rate
from amop.plan_changes.rules import ChangesStatus
from tests.worlds.changes_world import CYCLE_END, NOW, ChangesWorld


def apply_with_intervals(world: ChangesWorld, seconds: list[float]) -> None:
    """Add an applied instance whose changes followed each other after these seconds."""
    instance_id = world.instance(world.sims(len(seconds) + 1))
    moments = [NOW - timedelta(hours=5)]
    for pause in seconds:
        moments.append(moments[-1] + timedelta(seconds=pause))
    rows = world.execute("SELECT id FROM amop.rate_plan_change WHERE instance_id = %s ORDER BY id", instance_id)
    for row, moment in zip(rows, moments, strict=True):
        world.execute(
            "UPDATE amop.rate_plan_change SET state = 'applied', sent_at = %s, applied_at = %s WHERE id = %s",
            moment,
            moment,
            row["id"],
        )


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [
        ([2.0] * FEWEST_INTERVALS, 1.0),  # two calls in two seconds
        ([2.0] * FEWEST_INTERVALS + [3600.0], 1.0),  # an outage is no pace
        ([2.0] * FEWEST_INTERVALS + [540.0], 1.0),  # nor is a task that resumed nine minutes later
        ([2.0] * (FEWEST_INTERVALS - 1), 5.0),
        ([0.1] * FEWEST_INTERVALS, 5.0),
        ([], 5.0),
    ],
)
def test_the_pace_is_measured_in_the_changes_that_were_applied(
    world: ChangesWorld, seconds: list[float], rate: float
) -> None:
    apply_with_intervals(world, seconds)
    assert read_measured_rate(world.dsn, world.provider.id, 5.0, now=NOW) == pytest.approx(rate)


def test_the_go_and_no_go_use_the_measured_pace(world: ChangesWorld) -> None:
    apply_with_intervals(world, [20.0] * FEWEST_INTERVALS)
    instance_id = world.instance(world.sims(10))
    # 10 changes take 30 calls: 6 s by the account, 300 s as measured.
    latest = CYCLE_END - timedelta(seconds=900)
    assert world.plan(instance_id, now=latest + timedelta(milliseconds=1)) == ChangesStatus.NO_GO
    assert world.row(instance_id)["changes_reason"].startswith("no go: 10 changes take 5 min at 0.1 calls a second")
    assert world.plan(world.instance(world.sims(10)), now=latest) == "approved"
