"""Daily usage is a function of what was seen, whatever the order and however often it is written."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from amop.pipeline.history import write_observed_usage
from amop.warehouse.reference import load_reference
from sandbox.fleet import write_reference
from tests.reliability import RecordFault

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
    """One billing period of one provider, and as many SIMs as a test wants."""

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
        """Write what was seen of one SIM."""
        day, as_of, data, sms = seen
        values = {"usage_date": day, "billing_period_id": self.period_id, "as_of": as_of}
        with self.connection.transaction():
            self.connection.execute(OBSERVE, {"device_id": device_id, "data": data, "sms": sms})
            write_observed_usage(self.connection, values)

    def rows(self, device_id: int) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.connection.execute(ROWS, [device_id]).fetchall()]


@pytest.fixture
def warehouse(warehouse_dsn: str, tmp_path: Path) -> Warehouse:
    write_reference(tmp_path / "reference.yaml")
    load_reference(warehouse_dsn, tmp_path / "reference.yaml")
    return Warehouse(warehouse_dsn)


def seen_on(day: int, data: int, sms: int = 0, hour: int = 12) -> Seen:
    usage_date = FIRST_DAY + timedelta(days=day)
    moment = datetime(usage_date.year, usage_date.month, usage_date.day, hour, tzinfo=UTC)
    return usage_date, moment, data, sms


def expected_rows(history: list[Seen]) -> list[tuple[Any, ...]]:
    """The rows by definition: the last look of each day, less that of the day before; none where nothing was used."""
    rows, data_before, sms_before = [], 0, 0
    for day, _, data, sms in sorted({seen[0]: seen for seen in sorted(history, key=lambda seen: seen[1])}.values()):
        if data > data_before or sms > sms_before:
            rows.append((day, data - data_before, sms - sms_before, 0, data, sms))
        data_before, sms_before = data, sms
    return rows


def a_history(generator: random.Random) -> list[Seen]:
    """Counters that never go down, looked at on some days, on some of them twice."""
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


@pytest.mark.parametrize(
    ("history", "usage"),
    [
        # The day in the middle arrives last: the day after it gives back its share.
        ([seen_on(1, 10), seen_on(3, 20), seen_on(2, 14)], {1: 10, 2: 4, 3: 6}),
        # It was as the day before, or as the day after.
        ([seen_on(1, 10), seen_on(3, 20), seen_on(2, 10)], {1: 10, 3: 10}),
        ([seen_on(1, 10), seen_on(3, 20), seen_on(2, 20)], {1: 10, 2: 10}),
        # A counter that went down began anew, before or after the day that arrives last.
        ([seen_on(1, 10), seen_on(3, 6), seen_on(2, 14)], {1: 10, 2: 4, 3: 6}),
        ([seen_on(1, 10), seen_on(3, 6), seen_on(2, 4)], {1: 10, 2: 4, 3: 2}),
        # The first day arrives last.
        ([seen_on(2, 10), seen_on(3, 15), seen_on(1, 7)], {1: 7, 2: 3, 3: 5}),
        # The later look at a day wins, whichever is written first.
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


def test_rows_that_are_older_than_their_counters_are_counted_by_their_sum(warehouse: Warehouse) -> None:
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
