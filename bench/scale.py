"""Measure the points that docs/scale.md is checked against: seconds, WAL and disk of a merge by the number of SIMs.

python -m bench.scale 1000 10000 100000

The first point gives the figures per SIM; the others say how far the model is from them. A second table shows a day of
`device_usage` beside 60 days that are there already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import psycopg
import typer

from amop.device_sync.merge import merge_devices, merge_usage
from bench.merge import DAY_ONE, FleetServer, complete, fleet_server, moment, stage

TABLES = ("device", "device_history", "device_usage", "device_staging", "device_usage_staging")
SIZES = "SELECT pg_total_relation_size(('amop.' || name)::regclass) FROM unnest(%s::text[]) AS one (name)"
HISTORY_DAYS = 60
HISTORY_GOAL = 2.0

PAST_USAGE = """
INSERT INTO amop.device_usage (device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage,
 ctd_data_usage, ctd_sms_usage, ctd_voice_usage, as_of)
SELECT id, %(day)s, 2, 1000, 0, 0, 1000, 0, 0, %(day)s FROM amop.device
"""
PAST_PERIOD = """
INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
VALUES (1, 2026, 10, '2026-08-01', '2026-11-01')
"""


@dataclass(frozen=True, slots=True)
class Point:
    """A fleet that was merged for the first time, and a second day of which 2 % differ."""

    sims: int
    first_seconds: float
    day_seconds: float
    first_wal_bytes: float
    day_wal_bytes: float
    bytes_of_table: dict[str, int]
    """After the first day, indexes included."""

    @property
    def per_sim(self) -> dict[str, float]:
        """Return the figures per SIM: microseconds and bytes."""
        return {
            "first merge, µs": 1e6 * self.first_seconds / self.sims,
            "daily merge, µs": 1e6 * self.day_seconds / self.sims,
            "WAL of the first merge, bytes": self.first_wal_bytes / self.sims,
            "WAL of a daily merge, bytes": self.day_wal_bytes / self.sims,
            **{f"{table}, bytes": size / self.sims for table, size in self.bytes_of_table.items()},
        }


def measure_point(sims: int) -> Point:
    """Return the point of this many SIMs."""
    with fleet_server(sims) as fleet:
        first = _merge_day(fleet, 0)
        sizes = _sizes(fleet.template)
        _vacuum(fleet.template)
        day = _merge_day(fleet, 1)
    return Point(sims, first[0], day[0], first[1], day[1], sizes)


def measure_history(sims: int) -> tuple[float, float]:
    """Return the seconds of a day's merge of usage into an empty table, and into one with 60 days of every SIM."""
    with fleet_server(sims, durable=False) as fleet:
        _merge_day(fleet, 0)
        run_id = stage(fleet.template, sims, 1)
        merge_devices(fleet.template, run_id, now=moment(1))
        _vacuum(fleet.template)
        seconds = []
        for days in (0, HISTORY_DAYS):
            with fleet.copy() as conninfo:
                _fill(conninfo, days)
                seconds.append(_usage_seconds(fleet, conninfo, run_id))
    return seconds[0], seconds[1]


def _usage_seconds(fleet: FleetServer, conninfo: str, run_id: int) -> float:
    return fleet.cost(conninfo, lambda: merge_usage(conninfo, run_id, now=moment(1))).seconds


def _fill(conninfo: str, days: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("TRUNCATE amop.device_usage")
        connection.execute(PAST_PERIOD)
        for day in range(days):
            connection.execute(PAST_USAGE, {"day": (DAY_ONE - timedelta(days=days - day)).date()})
        connection.execute("VACUUM ANALYZE amop.device_usage")


def _merge_day(fleet: FleetServer, day: int) -> tuple[float, float]:
    """Stage and merge a day; return the seconds and the bytes of WAL."""
    run_id = stage(fleet.template, fleet.count, day)
    costs = [
        fleet.cost(fleet.template, lambda: merge_devices(fleet.template, run_id, now=moment(day))),
        fleet.cost(fleet.template, lambda: merge_usage(fleet.template, run_id, now=moment(day))),
    ]
    complete(fleet.template, run_id)
    return sum(cost.seconds for cost in costs), 1e6 * sum(cost.wal_megabytes for cost in costs)


def _vacuum(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _sizes(conninfo: str) -> dict[str, int]:
    with psycopg.connect(conninfo) as connection:
        sizes = connection.execute(SIZES, [list(TABLES)]).fetchall()
    return {table: int(size) for table, (size,) in zip(TABLES, sizes, strict=True)}


def table(counts: list[int]) -> list[str]:
    """Return the section of ``docs/benchmarks.md``; the 60 days of usage are those of the largest fleet."""
    history_sims = max(counts)
    points = [measure_point(count) for count in counts]
    empty, filled = measure_history(history_sims)
    names = list(points[0].per_sim)
    verdict = "met" if filled <= HISTORY_GOAL * empty else "**missed**"
    return [
        "Per SIM, by the size of the fleet; [the model](scale.md) takes them as constant.",
        "",
        "| per SIM | " + " | ".join(f"{point.sims:,} SIMs" for point in points) + " |",
        "|---" * (1 + len(points)) + "|",
        *(f"| {name} | " + " | ".join(f"{point.per_sim[name]:.0f}" for point in points) + " |" for name in names),
        "",
        f"A day's usage of {history_sims:,} SIMs merged into an empty `device_usage`: {empty:.2f} s; beside"
        f" {HISTORY_DAYS} days of every SIM, {HISTORY_DAYS * history_sims:,} rows: {filled:.2f} s,"
        f" {filled / empty:.2f} times. Goal without partitions ≤ {HISTORY_GOAL:.0f}: {verdict}.",
    ]


def main(counts: Annotated[list[int], typer.Argument(help="Numbers of SIMs.")]) -> None:
    """Print the section."""
    print("\n".join(table(counts)))


if __name__ == "__main__":
    typer.run(main)
