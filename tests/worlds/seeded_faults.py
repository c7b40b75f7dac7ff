"""The faults of a seeded run of nights: drawn from a seed, each with the place where it happens; for tests."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FAULTY_NIGHTS = 2
"""Nights with faults; one night without any follows them."""


class Step(StrEnum):
    """A step of a night, in the order in which they run: a task, or what follows it at once."""

    OPEN = "select_providers"
    QUEUE = "queue_sync"
    DEVICES = "fetch_devices"
    USAGE = "fetch_usage"
    ARCHIVE = "archive_pages"
    NOTIFY = "publish_notification"
    MERGE = "merge_devices"
    MERGE_USAGE = "merge_usage"
    COMMUNICATION_PLANS = "update_communication_plans"
    QUALITY = "check_quality"
    SUMMARY = "publish_summary"
    COMPLETE = "notify_amop"
    INSTANCE = "open_instance"
    GROUPS = "group_communication_plans"
    VALIDATE = "validate_groups"
    PROJECT = "project_usage"
    BASE = "assign_base"
    SOLVE = "solve"
    RESULTS = "write_results"
    REPORT = "publish_report"
    CHANGES = "plan_changes"
    APPLY = "apply_changes"
    VERIFY = "verify_changes"
    DELIVER = "deliver_messages"


SYNC_STEPS = (
    Step.QUEUE,
    Step.DEVICES,
    Step.USAGE,
    Step.MERGE,
    Step.MERGE_USAGE,
    Step.COMMUNICATION_PLANS,
    Step.QUALITY,
    Step.SUMMARY,
    Step.COMPLETE,
)
"""Steps from which a failed night can be resumed by clearing them."""


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "the process is killed"
    CUT = "the connection to PostgreSQL is lost"
    DISK = "PostgreSQL's disk is full"
    CRASH = "PostgreSQL's processes are killed and its server is started again"
    CARRIER = "the carrier answers wrongly, or not at all"
    AMOP = "AMOP answers with an error"
    QUEUE = "the notification queue is away"
    ARCHIVE = "the archive is away"
    SECOND_RUN = "a second DAG run of the provider starts"
    CLEAR = "an operator clears a step that has succeeded"
    REPLAY = "an operator replays an archived night"
    CLOCK = "the worker's clock is wrong"
    KEY = "the carrier refuses the API key"
    RECORD = "the carrier's record of a SIM is malformed"
    USAGE_VANISHED = "the carrier answers every usage with 0"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one night."""

    night: int
    kind: Kind
    step: Step
    """Where it happens: within this step, or before it for what an operator or another run does."""
    place: str = ""
    """``statement``, ``commit`` or ``call`` for what happens within a process."""
    is_after: bool = False
    """The statement, commit or call has succeeded first."""
    nth: int = 1
    """Which statement, commit or call of the step."""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a scripted fault of the sandbox."""

    def __str__(self) -> str:
        """Describe the fault in a line."""
        where = f"night {self.night}, {self.step}"
        if self.place:
            where += f", {'after' if self.is_after else 'before'} {self.place} {self.nth}"
        return f"{where}: {self.kind} {dict(self.details) or ''}{self.seconds or ''}".rstrip()


LOSES_A_NIGHT = frozenset({Kind.KEY, Kind.RECORD, Kind.USAGE_VANISHED})
"""Kinds that may cost a night, or something of it; the next night catches up."""

MOVES_TIME = frozenset({Kind.CLOCK})
"""Kinds that move the moment of which the usage is, and so the projection."""

CARRIER_FAULTS: Sequence[Mapping[str, Any]] = (
    {"status": 500},
    {"status": 502},
    {"status": 503},
    {"status": 503, "retry_after_seconds": 7},
    {"status": 429, "retry_after_seconds": 3},
    {"status": 429, "retry_after_seconds": 3, "retry_after_form": "http_date"},
    {"status": 429},
    {"reset": True},
    {"truncate": True},
)
PATHS = ("/rws/api/v1/devices", "/rws/api/v1/usages")


def draw_faults(seed: int, counts: Mapping[tuple[int, Step, str], int]) -> list[Fault]:
    """Return the faults of a seed.

    Args:
        seed: the same seed gives the same faults.
        counts: number of statements, commits and calls of each step of each night when nothing disturbs them, by
            night, step and place.
    """
    dice = random.Random(f"faults {seed}")
    number = dice.choice((1, 1, 2, 2, 3, 4, 6))
    return [_draw(dice, counts) for _ in range(number)]


def draw_crashes(seed: int, counts: Mapping[tuple[int, Step, str], int], number: int) -> list[Fault]:
    """Return a number of crashes of PostgreSQL, before or after a statement or a commit; see `draw_faults`.

    They are not among the faults that `draw_faults` draws: those run on a server that is shared with other tests.
    """
    dice = random.Random(f"crashes {seed}")
    places = [(key, count) for key, count in counts.items() if key[0] < FAULTY_NIGHTS and key[2] != "call"]
    chosen = dice.sample(places, number)
    return [
        Fault(night, Kind.CRASH, step, place, dice.random() < 0.5, dice.randint(1, count))
        for (night, step, place), count in chosen
    ]


def _draw(dice: random.Random, counts: Mapping[tuple[int, Step, str], int]) -> Fault:
    night = dice.randrange(FAULTY_NIGHTS)
    kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    step = dice.choice(list(Step))
    if kind in {Kind.KILL, Kind.CUT, Kind.DISK}:
        places = [
            (key, count) for key, count in counts.items() if key[0] == night and (key[2] != "call" or kind == Kind.KILL)
        ]
        (_, step, place), count = dice.choice(places)
        is_after = kind == Kind.KILL and dice.random() < 0.5
        return Fault(night, kind, step, place, is_after, dice.randint(1, count))
    if kind == Kind.CARRIER:
        # More in a row than the circuit breaker admits, now and then.
        times = dice.choice((1, 1, 2, 3, 12))
        fault = {**dice.choice(CARRIER_FAULTS), "times": times, "nth_call": dice.randint(1, 5)}
        return Fault(
            night, kind, dice.choice((Step.DEVICES, Step.USAGE)), details={"path": dice.choice(PATHS), **fault}
        )
    if kind == Kind.AMOP:
        return Fault(night, kind, step, details={"status": dice.choice((500, 503, 429)), "times": dice.randint(1, 4)})
    if kind == Kind.CLOCK:
        return Fault(night, kind, step, seconds=dice.uniform(-50, 50))
    if kind == Kind.REPLAY:
        return Fault(night, kind, step, details={"replayed_night": dice.randrange(night + 1)})
    if kind == Kind.RECORD:
        wrong = dice.choice(({"status": 7}, {"ratePlan": ["x"]}, {"iccid": None}, {"status": None}))
        return Fault(night, kind, Step.OPEN, nth=dice.randrange(1000), details=wrong)
    return Fault(night, kind, {Kind.QUEUE: Step.NOTIFY, Kind.ARCHIVE: Step.ARCHIVE}.get(kind, step))


WEIGHTS: Mapping[Kind, float] = {
    Kind.KILL: 40,
    Kind.CUT: 8,
    Kind.DISK: 4,
    Kind.CARRIER: 14,
    Kind.AMOP: 6,
    Kind.QUEUE: 2,
    Kind.ARCHIVE: 2,
    Kind.SECOND_RUN: 5,
    Kind.CLEAR: 8,
    Kind.REPLAY: 5,
    Kind.CLOCK: 4,
    Kind.KEY: 2,
    Kind.RECORD: 3,
    Kind.USAGE_VANISHED: 2,
}
