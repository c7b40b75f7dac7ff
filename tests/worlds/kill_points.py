"""Where a task's process is killed: named places in the code of the package, reached from outside of it; for tests.

Nothing in the package knows of these places. The process that is to die wraps what it imported (a statement of
``include/sql``, a function, the sending of an HTTP body) before it begins to work, and kills itself with SIGKILL, so
that neither ``finally`` nor ``except`` nor a rollback of its own runs. `HalfPage` and `RowHeldByAnother` need no
wrapping: the process blocks in the middle of a call, and the test kills it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

present_task = ""
"""The task that this process is working on; `tests.worlds.task_process` sets it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of ``include/sql``: killed when it is about to run, or when it just ran."""

    name: str
    nth: int = 1
    """Which one within the task."""
    has_run: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function, ``module:name`` or ``module:Class.name``: killed when it is about to run, or when it just ran."""

    target: str
    nth: int = 1
    has_run: bool = False


@dataclass(frozen=True, slots=True)
class HalfUpload:
    """An HTTP body that begins with these bytes: killed when half of it is on its way."""

    beginning: bytes


@dataclass(frozen=True, slots=True)
class HalfPage:
    """A page of the carrier's device list, which comes drop by drop: killed by the test when it has begun."""

    page_number: int


@dataclass(frozen=True, slots=True)
class RowHeldByAnother:
    """A statement that has written rows and waits for one that another transaction holds: killed by the test there."""

    application_name: str


Place = Statement | Call | HalfUpload | HalfPage | RowHeldByAnother


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A row of the table."""

    task: str
    name: str
    place: Place
    calls_again: Mapping[str, int] = field(default_factory=dict)
    """Calls to the carrier beyond those of an undisturbed run, by endpoint: exactly the calls of the killed process
    and not stored, or what is asked to settle a doubt."""
    messages_again: int = 0
    """Messages that AMOP gets twice, under the same idempotency key."""
    notifications_again: int = 0
    """Messages on the queue (SQS) that come twice, with the same run id."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a process is started for: the rest of a DAG run, task after task."""

    dag_id: str
    run_id: str
    conf: Mapping[str, Any]
    now: str
    """The fixed present moment, ISO 8601."""
    environment: Mapping[str, str]
    log_file: str
    stops_before: str | None = None
    """Task before which the process exits; None = none."""
    dies_at: KillPoint | None = None


def process_of_tasks(work: Work) -> None:
    """Do the work in this process; its exit status is 0 if it was done."""
    log = os.open(work.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(work.environment)
    from tests.worlds import task_process  # imported before the fork, see there

    if work.dies_at is not None:
        _lay(work.dies_at)
    task_process.run_dag(work)


def _lay(point: KillPoint) -> None:
    """Wrap the place, so that this process dies there."""
    place = point.place
    if isinstance(place, Statement):
        from amop.database import sql

        # An identifier such as {table} may have any of its values.
        text = re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(sql.load(place.name))))
        _wrap(
            "psycopg:Cursor.execute", point.task, place, lambda _cursor, query, *_rest, **_more: _matches(text, query)
        )
    elif isinstance(place, Call):
        _wrap(place.target, point.task, place, lambda *_arguments, **_more: True)
    elif isinstance(place, HalfUpload):
        _send_half_and_die(point.task, place.beginning)


def _matches(text: re.Pattern[str], query: object) -> bool:
    return isinstance(query, str) and text.fullmatch(query) is not None


def _wrap(target: str, task: str, place: Statement | Call, is_meant: Callable[..., bool]) -> None:
    owner, name = _owner_of(target)
    original = getattr(owner, name)
    number = itertools.count(1)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **more: Any) -> Any:
        is_here = _is_task(task) and is_meant(*arguments, **more) and next(number) == place.nth
        if is_here and not place.has_run:
            _die()
        result = original(*arguments, **more)
        if is_here:
            _die()
        return result

    setattr(owner, name, wrapped)


def _send_half_and_die(task: str, beginning: bytes) -> None:
    from http.client import HTTPConnection

    original = HTTPConnection.send

    def send(self: HTTPConnection, data: Any) -> None:
        if _is_task(task) and isinstance(data, bytes) and data.startswith(beginning):
            original(self, data[: len(data) // 2])
            _die()
        original(self, data)

    HTTPConnection.send = send  # type: ignore[method-assign]


def _owner_of(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *parents, name = path.split(".")
    return functools.reduce(getattr, parents, importlib.import_module(module)), name


def _is_task(task: str) -> bool:
    return present_task == task


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
