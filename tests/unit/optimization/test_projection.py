"""Projected usage: exact, rounded half up, and left alone where the rule says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop.optimization.forecast import (
    MEGABYTE,
    UNCHANGED,
    ProjectionFactor,
    is_projected,
    project_usage,
    projection_factor,
    usage_micro_mb,
)

START = datetime(2026, 10, 18, 22, tzinfo=UTC)
END = START + timedelta(days=30)
CYCLE = {"cycle_start": START, "cycle_end": END}


def project(usage: int, **changes: Any) -> int:
    facts: dict[str, Any] = (
        {
            "status": "ACTIVATED",
            "last_usage_date": START + timedelta(days=9),
            "usage_as_of": START + timedelta(days=10),
        }
        | CYCLE
        | changes
    )
    return project_usage(usage, **facts)


@pytest.mark.parametrize(
    ("usage_bytes", "micro_mb"),
    [
        (0, 0),
        (1, 1),  # 0.00000095… MB
        (MEGABYTE, 1_000_000),
        (MEGABYTE // 2, 500_000),
        (8_192, 7_813),  # 0.0078125 MB: a half is rounded up
        (24_576, 23_438),  # 0.0234375 MB
        (2**63 - 1, 8_796_093_022_207_999_999),
    ],
)
def test_bytes_become_megabytes_rounded_half_up_to_six_decimals(usage_bytes: int, micro_mb: int) -> None:
    assert usage_micro_mb(usage_bytes) == micro_mb


def test_negative_bytes_are_an_error() -> None:
    with pytest.raises(ValueError, match="-1 bytes is negative"):
        usage_micro_mb(-1)


def test_ten_days_of_thirty_become_three_times_the_usage_and_one_percent() -> None:
    assert project(100_000_000) == 303_000_000


def test_a_half_of_the_last_decimal_is_rounded_up() -> None:
    # 1e-6 MB x 30/15 x 1.01 = 2.02e-6; 25e-6 x 2 x 1.01 = 50.5e-6.
    halfway = {"usage_as_of": START + timedelta(days=15)}
    assert project(1, **halfway) == 2
    assert project(25, **halfway) == 51


@pytest.mark.parametrize("status", ["DEACTIVATED", "RETIRED"])
def test_a_sim_that_is_switched_off_keeps_its_usage(status: str) -> None:
    assert project(7_000_000, status=status) == 7_000_000


@pytest.mark.parametrize("status", ["ACTIVATED", "TEST_READY", "INVENTORY", None])
def test_any_other_status_is_projected(status: str | None) -> None:
    assert project(1_000_000, status=status) == 3_030_000


@pytest.mark.parametrize(
    ("last_usage_date", "expected"),
    [
        (START - timedelta(microseconds=1), False),
        (START, True),
        (END - timedelta(microseconds=1), True),
        (END, False),
        (None, True),
    ],
)
def test_usage_of_a_date_outside_the_cycle_is_not_projected(last_usage_date: datetime | None, expected: bool) -> None:
    assert is_projected("ACTIVATED", last_usage_date, **CYCLE) is expected
    assert (project(10, last_usage_date=last_usage_date) != 10) is expected


@pytest.mark.parametrize(
    "usage_as_of",
    [START - timedelta(days=1), START, END, END + timedelta(days=3)],
    ids=["before the cycle", "elapsed 0", "at the end", "after the end"],
)
def test_usage_is_unchanged_outside_the_period_and_an_elapsed_time_of_zero_never_divides(usage_as_of: datetime) -> None:
    assert projection_factor(usage_as_of, **CYCLE) == UNCHANGED
    assert project(123_456, usage_as_of=usage_as_of) == 123_456


def test_the_factor_is_a_fraction_of_microseconds() -> None:
    second = timedelta(seconds=1)
    assert projection_factor(START + second, **CYCLE) == ProjectionFactor(30 * 86_400_000_000 * 101, 100_000_000)
    # One microsecond before the end only the safety margin is left.
    assert project(1_000_000, usage_as_of=END - timedelta(microseconds=1)) == 1_010_000


def test_naive_times_and_cycles_that_do_not_run_are_errors() -> None:
    with pytest.raises(ValueError, match="need a time zone"):
        projection_factor(START.replace(tzinfo=None), **CYCLE)
    with pytest.raises(ValueError, match="is not after"):
        projection_factor(START, cycle_start=END, cycle_end=START)


@given(
    usage=st.integers(0, 10**15),
    elapsed=st.integers(1, 30 * 86_400_000_000 - 1),
)
def test_projection_equals_the_formula_in_exact_decimals(usage: int, elapsed: int) -> None:
    moment = START + timedelta(microseconds=elapsed)
    found = project(usage, usage_as_of=moment)
    period = 30 * 86_400_000_000
    # usage x period / elapsed x 1.01 lies within half a unit of what was found, a half rounded up.
    exact_times_elapsed = Decimal(usage * period * 101)
    scale = Decimal(elapsed * 100)
    assert (Decimal(2 * found - 1) * scale <= 2 * exact_times_elapsed) and (
        2 * exact_times_elapsed < (2 * found + 1) * scale
    )
    assert found >= usage


@given(usage_bytes=st.integers(0, 2**63 - 1))
def test_megabytes_equal_decimal_arithmetic(usage_bytes: int) -> None:
    from decimal import localcontext

    with localcontext() as context:
        context.prec = 60
        exact = (Decimal(usage_bytes) / MEGABYTE).quantize(Decimal("0.000001"), ROUND_HALF_UP)
        assert Decimal(usage_micro_mb(usage_bytes)).scaleb(-6) == exact
