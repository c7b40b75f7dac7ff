"""The back-test of the projections is reproducible and separates a good method from a bad one."""

from __future__ import annotations

import pytest

from bench.projection import KINDS, METHODS, WHOLE_FLEET, make_fleet, measure, project, table


def test_the_same_seed_gives_the_same_rows_and_a_line_for_each() -> None:
    rows = measure(device_count=80, seeds=(3,), cuts=(3,))
    assert rows == measure(device_count=80, seeds=(3,), cuts=(3,))
    assert [row.kind for row in rows] == [*(kind.name for kind in KINDS), WHOLE_FLEET]
    assert rows[-1].sims == sum(row.sims for row in rows[:-1]) == 80
    assert set(rows[-1].excess_cost) == set(METHODS) and min(rows[-1].excess_cost.values()) >= 0
    lines = table(rows)
    assert len(lines) == len(rows) + 2
    assert lines[-1].startswith("| 3 | whole fleet | ")


def test_the_real_usage_is_that_of_the_period() -> None:
    fleet = make_fleet(2, 40)
    done = project(fleet, 5, 2)
    whole_days = fleet.megabytes[:, 42:-1].sum(axis=1)
    half_days = fleet.megabytes[:, [40, -1]].sum(axis=1)
    # The period runs from 18:00 to 18:00: all of the days between, and parts of the first and of the last.
    assert (done.real / 1e6 >= whole_days - 1e-5).all()
    assert (done.real / 1e6 <= whole_days + half_days + fleet.megabytes[:, 41] + 1e-5).all()


@pytest.mark.parametrize("kind", ["weekly meter", "weekend idle", "new"])
def test_the_daily_history_is_better_than_elapsed_time_on_the_kinds_it_is_made_for(kind: str) -> None:
    (row,) = [row for row in measure(device_count=150, seeds=(1, 4), cuts=(3,)) if row.kind == kind]
    assert row.errors["daily_history"].weighted_error < 0.8 * row.errors["elapsed_time"].weighted_error
