"""Play the cells of the matrix on the real scheduler: fail, fix, press, and compare what is left.

One DAG run of the daily DAG has many providers, each of which fails at another task. A press that concerns one task is
made for each of them; a press that concerns the run is made once and has to be right for all of them at once. An
optimization has a DAG run of its own. `play` runs them all side by side, as far as Airflow's limits admit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import psycopg
from psycopg.rows import dict_row

from amop import ids
from amop.runs.first_step import first_step
from sandbox.world.airflow_api import ENDED, AirflowApi
from sandbox.world.lifecycle import amop_command
from sandbox.world.world import World
from tests.worlds.fault_switch import FaultSwitch
from tests.worlds.matrix_cells import (
    AFTER_APPLYING,
    LEFT_TO_MAINTENANCE,
    NOT_BEGUN,
    OF_DETAILS,
    OF_PRESENT_PLANS,
    OWN_WORK,
    WHILE_WAITING,
    Action,
    Followed,
)
from tests.worlds.matrix_handles import POLL_SECONDS, Approver, press
from tests.worlds.matrix_rows import SYNC_TABLES, differences, latest, notified, rows_of
from tests.worlds.matrix_world import Provider

RUN_ACTIONS = frozenset({Action.CLEAR_FAILED, Action.CLEAR_RUN, Action.DELETE_RUN})
"""Actions on a DAG run, which are pressed once for all cells of the run."""

RUNS_AT_ONCE = 14
"""DAG runs under way: more would wait for each other until the sensors' limits expire."""

OPENING = "open_instance"
TO_CLEAR = re.compile(rf"clear (?:({OPENING}) of that run|that task|the failed task|the task that has not run)")
"""What sentences ask to be cleared with downstream tasks: the first task of an optimization, or the one that failed."""

UNFINISHED_CHANGES = frozenset({"no_go", "waiting", "approved", "stopped"})
"""Statuses of plan changes whose reason says what is to be done."""

OF_SIMS = ("device", "device_usage", "device_history", "device_missing", "communication_plan")
"""Tables that are compared after a new run: the counters of that run itself differ from those of a first one."""
OF_PLANS = ("optimization_device_result",)
"""Tables that are compared after a new optimization of SIMs whose plans were changed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One task that fails, and what is pressed then; a cell without a task is a day that is not disturbed itself."""

    provider: Provider
    task: str | None = None
    place: str = ""
    action: Action | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    differences: dict[str, list[str]]
    sentence: str
    """What the warehouse tells the operator; empty where nothing is left to do."""
    is_chained: bool = False
    """True: it is one of several failures of the same day, which was compared at its end."""
    is_skipped: bool = False
    """True: the task was marked as success, and only its own work is missing."""
    followed: str = ""
    """What was done because the sentence says so."""
    left: dict[str, list[str]] = field(default_factory=dict)
    """Differences after that."""

    @property
    def is_right(self) -> bool:
        """Return True if the rows are those of an undisturbed day, or a sentence says what leads to them."""
        return not self.differences or (bool(self.sentence) and not self.left)


class Phase(Enum):
    """How far a DAG run of the matrix has come."""

    PLANNED = auto()
    FAILING = auto()
    RECOVERING = auto()
    SETTLING = auto()
    FOLLOWING = auto()
    DONE = auto()


@dataclass(slots=True)
class Group:
    """One DAG run and its cells, in the order of their providers."""

    dag_id: str
    run_id: str
    cells: Sequence[Cell]
    conf: dict[str, Any]
    tables: dict[str, str]
    is_chain: bool = False
    """All cells are of the first provider, whose tasks fail one after another; each is pressed when it has failed."""
    phase: Phase = Phase.PLANNED
    pressed: int = 0
    """Number of cells of a chain that have been pressed."""
    new_run_id: str = ""
    """DAG run that was started because sentences ask for a new run."""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def baseline(self) -> tuple[str, str]:
        """Return what it has in common with the undisturbed run that it is compared with."""
        return self.dag_id, str(self.conf.get("optimization", ""))

    @property
    def is_undisturbed(self) -> bool:
        """Return True if no task of it fails: the others of its DAG are compared with it."""
        return all(cell.task is None for cell in self.cells)

    def map_index(self, cell: Cell) -> int:
        """Return the map index of a cell's task; -1 for a task that is not mapped."""
        if cell.task is None or "." not in cell.task:
            return -1
        return 0 if self.is_chain else list(self.cells).index(cell)


def _own_work(chain: Group | None, cell: Cell) -> list[str]:
    """Return the columns that a day lacks because a task was marked as success: of one cell, or of all of a chain."""
    cells = [cell] if chain is None else chain.cells
    marked = [cell.task for cell in cells if cell.action is Action.MARK_SUCCESS and cell.task is not None]
    return [column for task in marked for column in OWN_WORK.get(task, ())]


class Matrix:
    """The matrix in a running world.

    Args:
        world: the world; its fault switch is installed.
        api: its Airflow.
        follows: do what the sentences of ended runs say, and compare again.
    """

    def __init__(self, world: World, api: AirflowApi, *, follows: bool) -> None:
        self._world = world
        self._follows = follows
        self._api = api
        self._switch = FaultSwitch(world.directory / "airflow")
        self._approver = Approver(api)
        self._undisturbed: dict[tuple[str, str], int] = {}
        """`Group.baseline` → the provider of the undisturbed run."""

    def play(self, groups: Sequence[Group], *, seconds: float) -> Iterator[Outcome]:
        """Play all groups side by side and yield the outcomes of the cells of each that has ended.

        Args:
            groups: with one undisturbed run of each DAG.
            seconds: patience.
        """
        begun = time.monotonic()
        while waiting := [group for group in groups if group.phase is not Phase.DONE]:
            under_way = waiting[:RUNS_AT_ONCE]
            for group in under_way:
                self._step(group)
                if group.phase is Phase.DONE:
                    yield from group.outcomes
            self._approver.answer()
            assert time.monotonic() - begun < seconds, f"not within {seconds:.0f} s: " + ", ".join(
                f"{group.run_id} ({group.phase.name})" for group in under_way
            )
            time.sleep(POLL_SECONDS)

    def _trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self._api.request("POST", f"/dags/{dag_id}/dagRuns", body)

    def _begin(self, group: Group) -> None:
        for cell in group.cells:
            if cell.task is not None:
                self._switch.add(group.run_id, cell.task, group.map_index(cell), cell.place)
        self._trigger(group.dag_id, group.run_id, group.conf)

    def _step(self, group: Group) -> None:
        if group.phase is Phase.PLANNED:
            self._begin(group)
            group.phase = Phase.FAILING
            return
        state = self._api.run_state(group.dag_id, group.run_id)
        if group.phase is not Phase.SETTLING and state not in {*ENDED, None}:
            return
        if group.new_run_id and self._api.run_state(group.dag_id, group.new_run_id) not in ENDED:
            return
        if group.phase is Phase.FAILING and group.is_chain:
            self._press_next(group)
        elif group.phase is Phase.FAILING:
            self._press(group)
            group.phase = Phase.RECOVERING
        elif group.phase is Phase.RECOVERING:
            group.phase = Phase.SETTLING
            if not self._is_settled(group):  # the watchdog ends what is left; nobody has to wait for its next run
                self._trigger(ids.AMOP_RELAY_DAG, f"{group.run_id}_settles", {})
        elif group.phase is Phase.SETTLING and self._is_settled(group):
            if group.is_undisturbed:
                assert state == "success", f"{group.run_id}: the undisturbed run is {state}"
                self._undisturbed[group.baseline] = group.cells[0].provider.id
                group.phase = Phase.DONE
            elif group.baseline in self._undisturbed:
                self._judge(group)
        elif group.phase is Phase.FOLLOWING and self._is_settled(group):
            self._judge_again(group)
            group.phase = Phase.DONE

    def _judge(self, group: Group) -> None:
        group.outcomes = [self._outcome(group, cell) for cell in group.cells]
        group.phase = Phase.FOLLOWING if self._follows and self._follow(group) else Phase.DONE

    def _press_next(self, group: Group) -> None:
        """Remove the fault of the next cell of a chain, which must have failed, and press its handle."""
        cell = group.cells[group.pressed]
        assert cell.task is not None and cell.action is not None
        index = group.map_index(cell)
        (state,) = [
            task["state"] for task in self._tasks(group) if (task["task_id"], task["map_index"]) == (cell.task, index)
        ]
        if state != "failed":  # the press before it has not led to here
            with self._warehouse() as connection:
                found = [str(latest(connection, cell.provider.id))]
            tasks = [f"- {cell.task} failed", f"+ {cell.task} {state}"]
            group.outcomes = [Outcome(cell, {"task_instance": tasks, "latest": found}, "")]
            group.phase = Phase.DONE
            return
        self._switch.remove(group.run_id, cell.task)
        press(self._api, cell.action, group.dag_id, group.run_id, cell.task, index)
        group.pressed += 1
        if group.pressed == len(group.cells):
            group.phase = Phase.RECOVERING

    def _press(self, group: Group) -> None:
        """Remove the faults of a group and press its handles, those of later tasks first."""
        states = {(task["task_id"], task["map_index"]): task["state"] for task in self._tasks(group)}
        for cell in group.cells:
            if cell.task is not None:
                found = states[cell.task, group.map_index(cell)]
                assert found == "failed", f"{group.run_id}: {cell.task} of {cell.provider} is {found}, not failed"
        self._switch.remove(group.run_id)
        pressed: set[Action] = set()
        for cell in reversed(group.cells):
            if cell.action is None or cell.task is None or cell.action in pressed:
                continue
            if cell.action in RUN_ACTIONS:
                pressed.add(cell.action)
            press(self._api, cell.action, group.dag_id, group.run_id, cell.task, group.map_index(cell))

    def _tasks(self, group: Group) -> list[dict[str, Any]]:
        return self._api.task_instances(group.dag_id, group.run_id)

    def _is_settled(self, group: Group) -> bool:
        """Return True if no run and no session of the group's providers is running, and no report is undelivered."""
        with self._warehouse() as connection:
            (row,) = connection.execute(
                "SELECT (SELECT count(*) FROM amop.device_sync_run"
                " WHERE service_provider_id = ANY(%(ids)s) AND status = 'running')"
                " + (SELECT count(*) FROM amop.optimization_session"
                " WHERE service_provider_id = ANY(%(ids)s) AND status = 'running')"
                " + (SELECT count(*) FROM amop.undelivered_report AS report"
                " INNER JOIN amop.device_sync_run AS run ON report.run_id = run.id"
                " WHERE run.service_provider_id = ANY(%(ids)s) AND run.status = 'complete') AS n",
                {"ids": [cell.provider.id for cell in group.cells]},
            ).fetchall()
        return int(row["n"]) == 0

    def _outcome(self, group: Group, cell: Cell) -> Outcome:
        own_work = _own_work(group if group.is_chain else None, cell)
        with self._warehouse() as connection:
            found = latest(connection, cell.provider.id)
            different = self._differences(connection, group, cell, group.tables)
            is_skipped = bool(different and own_work) and not self._differences(
                connection, group, cell, group.tables, own_work
            )
        if is_skipped:
            marked = cell.action is Action.MARK_SUCCESS
            return Outcome(cell, {}, "", is_skipped=marked, is_chained=group.is_chain)
        sentence = self._sentence(group, cell, found) if different else ""
        return Outcome(cell, different, sentence, is_chained=group.is_chain)

    def _sentence(self, group: Group, cell: Cell, found: dict[str, Any]) -> str:
        """Return what status, page and notifications tell of a day; empty where they tell nothing."""
        if found["error"]:
            return f"{found['error']}: {first_step(found['error'])}"
        if error := found["session_error"] or found["instance_error"]:
            return f"{error}: {first_step(error, of_session=group.tables is not SYNC_TABLES)}"
        told = [found["changes_reason"]] if found["changes_status"] in UNFINISHED_CHANGES else []
        with self._warehouse() as connection:
            told.append(notified(connection, group.dag_id, self._failed(group, cell)))
        return ". ".join(filter(None, told))

    @staticmethod
    def _failed(group: Group, cell: Cell) -> str:
        """Return the task whose failure a cell's provider suffers from; a neighbour suffers from that of the run."""
        return cell.task or next((other.task for other in group.cells if other.task is not None), "")

    def _differences(
        self,
        connection: psycopg.Connection[Any],
        group: Group,
        cell: Cell,
        tables: dict[str, str],
        without: Sequence[str] = (),
    ) -> dict[str, list[str]]:
        """Return what a cell's provider differs in from that of the undisturbed run."""
        undisturbed = rows_of(connection, self._undisturbed[group.baseline], tables, without)
        return differences(undisturbed, rows_of(connection, cell.provider.id, tables, without))

    def _follow(self, group: Group) -> bool:
        """Do what the sentences of a group say; return False if there is nothing to do."""
        fresh: list[Outcome] = []
        for outcome in group.outcomes:
            if not outcome.differences or not outcome.sentence:
                continue
            cell, resume = outcome.cell, re.search(r"`bin/amop runs resume (\d+)`", outcome.sentence)
            exists = self._api.run_state(group.dag_id, group.run_id) is not None
            if resume and exists:
                done = amop_command(self._world, "runs", "resume", resume[1])
                outcome.followed = f"{Followed.RESUMED}: {(done.stdout + done.stderr).strip()}"
            elif exists and (of_session := TO_CLEAR.search(outcome.sentence)):
                failed = self._failed(group, cell)
                task, index = (OPENING, -1) if of_session[1] else (failed, group.map_index(cell) if cell.task else -1)
                press(self._api, Action.CLEAR_DOWNSTREAM, group.dag_id, group.run_id, task, index)
                outcome.followed = Followed.CLEARED
            else:
                fresh.append(outcome)
        if fresh:
            conf = group.conf | self._providers(group, [outcome.cell.provider for outcome in fresh])
            group.new_run_id = f"{group.run_id}_again"
            self._trigger(group.dag_id, group.new_run_id, conf)
            for outcome in fresh:
                outcome.followed = Followed.NEW_RUN
        return any(outcome.followed for outcome in group.outcomes)

    @staticmethod
    def _providers(group: Group, providers: Sequence[Provider]) -> dict[str, Any]:
        if "service_provider_ids" in group.conf:
            return {"service_provider_ids": [provider.id for provider in providers]}
        return {"service_provider_id": providers[0].id}

    def _judge_again(self, group: Group) -> None:
        with self._warehouse() as connection:
            for outcome in group.outcomes:
                if not outcome.followed:
                    continue
                is_new_sync = outcome.followed == Followed.NEW_RUN and group.tables is SYNC_TABLES
                is_of_new_plans = outcome.followed == Followed.NEW_RUN and outcome.cell.task in AFTER_APPLYING
                names = OF_SIMS if is_new_sync else OF_PLANS if is_of_new_plans else group.tables
                tables = {name: group.tables[name] for name in names}
                was_marked = outcome.cell.action is Action.MARK_FAILED
                is_resumed = outcome.followed.startswith(Followed.RESUMED)
                at_times = OF_DETAILS * is_new_sync + NOT_BEGUN * was_marked + LEFT_TO_MAINTENANCE * is_resumed
                without = (*WHILE_WAITING, *at_times, *OF_PRESENT_PLANS * is_of_new_plans)
                outcome.left = self._differences(connection, group, outcome.cell, tables, without)

    @contextmanager
    def _warehouse(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self._world.warehouse_dsn(), row_factory=dict_row) as connection:
            yield connection
