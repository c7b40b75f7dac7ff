"""Daily usage adds up to the counter, whatever the counter does, and depends only on the counters read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from amop.device_sync.history import write_observed_usage
from tests.worlds.reliability import RecordFault
from tests.worlds.sandbox_reference import load_sandbox_reference

FIRST_DAY = date(2026, 11, 1)
DAYS = 12
HISTORIES = 40

OBSERVE = """
CREATE TEMPORARY TABLE observed_usage ON COMMIT DROP AS
SELECT %(device_id)s::bigint AS device_id, %(data)s::bigint AS data_usage, %(sms)s::bigint AS sms_usage,
    NULL::bigint AS voice_usage
"""
ROWS = """
SELECT usage_date, data_usage, sms_usage, voice_usage, ctd_data_usage, ctd_sms_usage
FROM amop.device_usage WHERE device_id = %s ORDER BY usage_date
"""

Seen = tuple[date, datetime, int, int]
"""Usage date, moment, data counter, SMS counter."""


class Warehouse:
    """One billing period of one provider, with a SIM for each call of `sim`."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        period = self.connection.execute(
            "INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)"
            " VALUES (1, 2031, 1, '2030-12-18', '2031-01-18') RETURNING id"
        ).fetchone()
        assert period
        self.period_id = period["id"]
        self.sims = 0

    def sim(self) -> int:
        self.sims += 1
        row = self.connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid) VALUES (1, %s) RETURNING id", [f"{self.sims:020d}"]
        ).fetchone()
        assert row
        return int(row["id"])

    def write(self, device_id: int, seen: Seen) -> None:
        """Write the counters read of one SIM."""
        day, as_of, data, sms = seen
        with self.connection.transaction():
            self.connection.execute(OBSERVE, {"device_id": device_id, "data": data, "sms": sms})
            write_observed_usage(self.connection, usage_date=day, billing_period_id=self.period_id, as_of=as_of)

    def rows(self, device_id: int) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.connection.execute(ROWS, [device_id]).fetchall()]


@pytest.fixture
def warehouse(warehouse_dsn: str) -> Iterator[Warehouse]:
    load_sandbox_reference(warehouse_dsn)
    warehouse = Warehouse(warehouse_dsn)
    with warehouse.connection:
        yield warehouse


def seen_on(day: int, data: int, sms: int = 0, hour: int = 12) -> Seen:
    usage_date = FIRST_DAY + timedelta(days=day)
    moment = datetime(usage_date.year, usage_date.month, usage_date.day, hour, tzinfo=UTC)
    return usage_date, moment, data, sms


def days_of(history: list[Seen]) -> list[Seen]:
    """Return the last reading of each day, in order."""
    return sorted({seen[0]: seen for seen in sorted(history, key=lambda seen: seen[1])}.values())


def usage_by_day(counters: list[int]) -> list[int]:
    """Return the usage of each day by definition: what the lowest counter from that day on has more than before."""
    first = max((day for day in range(1, len(counters)) if counters[day] < counters[day - 1] // 2), default=0)
    lowest = [0] * first + [min(counters[day:]) for day in range(first, len(counters))]
    return [used - before for used, before in zip(lowest, [0, *lowest], strict=False)]


def expected_rows(history: list[Seen]) -> list[tuple[Any, ...]]:
    """Return the rows by definition: one for each day on which a counter changed."""
    days = days_of(history)
    rows, before = [], (0, 0)
    usage = zip(usage_by_day([seen[2] for seen in days]), usage_by_day([seen[3] for seen in days]), strict=True)
    for (day, _, data, sms), (data_usage, sms_usage) in zip(days, usage, strict=True):
        if (data, sms) != before:
            rows.append((day, data_usage, sms_usage, 0, data, sms))
        before = data, sms
    return rows


def a_history(generator: random.Random) -> list[Seen]:
    """Return counters that never decrease, read on some days, on some of them twice."""
    history, data, sms = [], 0, 0
    for day in range(DAYS):
        for hour in generator.choice([(), (9,), (9, 21)]):
            data += generator.choice([0, 0, 1, 700, 2**40])
            sms += generator.choice([0, 0, 0, 3])
            history.append(seen_on(day, data, sms, hour))
    return history


def test_any_order_and_any_repetition_of_the_days_gives_the_same_rows_and_they_add_up(
    warehouse: Warehouse, reliability: RecordFault
) -> None:
    generator = random.Random(20261101)
    written = wrong = 0
    for _ in range(HISTORIES):
        history = a_history(generator)
        shuffled = history + generator.choices(history, k=len(history) // 2) if history else []
        generator.shuffle(shuffled)
        device_id = warehouse.sim()
        for seen in shuffled:
            warehouse.write(device_id, seen)
        rows = warehouse.rows(device_id)
        assert rows == expected_rows(history)
        assert sum(row[1] for row in rows) == max((seen[2] for seen in history), default=0)
        assert sum(row[2] for row in rows) == max((seen[3] for seen in history), default=0)
        written += len(shuffled)
        wrong += rows != expected_rows(history)
    reliability(
        fault=f"{HISTORIES} SIMs whose days arrive in any order, some of them twice", injected=written,
        expected="0 SIMs differ from the days in order, every sum is the counter", seen=f"{wrong} SIMs differ",
    )  # fmt: skip


def any_history(generator: random.Random) -> list[Seen]:
    """Return readings in order whose counters rise, are corrected, restart or jump, on some days several times."""
    history, data, sms = [], 0, 0
    for day in range(DAYS):
        for hour in sorted(generator.sample(range(24), generator.choice([0, 1, 1, 3]))):
            move = generator.choice(["rise", "rise", "rise", "correction", "restart", "nothing", "any"])
            data = {
                "rise": data + generator.choice([1, 700, 2**40]),
                "correction": data - data // 100,
                "restart": generator.choice([0, 5, 10_000_000]),
                "nothing": data,
                "any": generator.randrange(2**62),
            }[move]
            sms = max(0, sms + generator.choice([0, 0, 3, -1]))
            history.append(seen_on(day, data, sms, hour))
    return history


def test_after_every_reading_of_any_sequence_the_days_of_the_cycle_add_up_to_the_counter(
    warehouse: Warehouse, reliability: RecordFault
) -> None:
    generator = random.Random(20261128)
    written = wrong = 0
    for _ in range(HISTORIES):
        history = any_history(generator)
        device_id = warehouse.sim()
        for number, seen in enumerate(history, start=1):
            warehouse.write(device_id, seen)
            rows = warehouse.rows(device_id)
            wrong += (sum(row[1] for row in rows), sum(row[2] for row in rows)) != seen[2:]
            assert rows == expected_rows(history[:number])
            assert min((count for row in rows for count in row[1:4]), default=0) >= 0
        written += len(history)
    assert wrong == 0
    reliability(
        fault="counters that are corrected, restart within the cycle or jump", injected=written,
        expected="after every reading the days add up to the counter", seen=f"{wrong} readings do not add up",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "usage"),
    [
        # The day in the middle arrives last: its share is subtracted from the day after it.
        ([seen_on(1, 10), seen_on(3, 20), seen_on(2, 14)], {1: 10, 2: 4, 3: 6}),
        # Its counter equals that of the day before, or of the day after.
        ([seen_on(1, 10), seen_on(3, 20), seen_on(2, 10)], {1: 10, 3: 10}),
        ([seen_on(1, 10), seen_on(3, 20), seen_on(2, 20)], {1: 10, 2: 10}),
        # A counter that fell by less than half was corrected: the latest days lose what was too much.
        ([seen_on(1, 1_000_000), seen_on(2, 990_000), seen_on(3, 1_100_000)], {1: 990_000, 2: 0, 3: 110_000}),
        ([seen_on(1, 10), seen_on(3, 9), seen_on(2, 14)], {1: 9, 2: 0, 3: 0}),
        ([seen_on(1, 10), seen_on(2, 14), seen_on(3, 11)], {1: 10, 2: 1, 3: 0}),
        # A counter that fell to less than half has restarted: what it showed before is not usage of this cycle.
        ([seen_on(1, 5_000_000_000), seen_on(3, 10_000_000)], {1: 0, 3: 10_000_000}),
        ([seen_on(1, 10), seen_on(3, 6), seen_on(2, 14)], {1: 0, 2: 0, 3: 6}),
        ([seen_on(1, 10), seen_on(3, 6), seen_on(2, 4)], {1: 0, 2: 4, 3: 2}),
        ([seen_on(1, 10), seen_on(2, 0), seen_on(3, 4)], {1: 0, 2: 0, 3: 4}),
        # Corrected and raised again on the same day.
        ([seen_on(1, 10), seen_on(2, 8, hour=8), seen_on(2, 12, hour=20)], {1: 10, 2: 2}),
        # The first day arrives last.
        ([seen_on(2, 10), seen_on(3, 15), seen_on(1, 7)], {1: 7, 2: 3, 3: 5}),
        # The later reading of a day counts, whichever is written first.
        ([seen_on(1, 10, hour=20), seen_on(1, 8, hour=8)], {1: 10}),
        ([seen_on(1, 8, hour=8), seen_on(1, 10, hour=20), seen_on(2, 15)], {1: 10, 2: 5}),
        ([seen_on(1, 8, hour=8), seen_on(2, 15), seen_on(1, 10, hour=20)], {1: 10, 2: 5}),
    ],
)  # fmt: skip
def test_figures_of_days_that_arrive_late(warehouse: Warehouse, history: list[Seen], usage: dict[int, int]) -> None:
    device_id = warehouse.sim()
    for seen in history:
        warehouse.write(device_id, seen)
    assert {(row[0] - FIRST_DAY).days: row[1] for row in warehouse.rows(device_id)} == usage


def test_rows_without_counters_use_the_sum_of_their_usage(warehouse: Warehouse) -> None:
    device_id = warehouse.sim()
    for day, data in ((1, 10), (3, 12)):
        warehouse.connection.execute(
            "INSERT INTO amop.device_usage"
            " (device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage)"
            " VALUES (%s, %s, %s, %s, 0, 0)", [device_id, FIRST_DAY + timedelta(days=day), warehouse.period_id, data],
        )  # fmt: skip
    warehouse.write(device_id, seen_on(2, 15))
    assert [(row[0].day, row[1], row[4]) for row in warehouse.rows(device_id)] == [
        (2, 10, None),
        (3, 5, 15),
        (4, 7, 22),
    ]
    warehouse.write(device_id, seen_on(5, 30))
    assert [row[1] for row in warehouse.rows(device_id)] == [10, 5, 7, 8]
