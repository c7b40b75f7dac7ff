"""Playing the matrix: when handles are pressed, and what is done because a sentence says so. Airflow is played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.worlds import matrix_days
from tests.worlds.matrix_cells import Action
from tests.worlds.matrix_days import Cell, Group, Matrix, Outcome
from tests.worlds.matrix_rows import OPTIMIZATION_TABLES, SYNC_TABLES
from tests.worlds.matrix_world import Provider

DAG = "device_sync_jasper"
UNDISTURBED, FIRST, SECOND, NEIGHBOUR = (Provider(number, "jasper", applies_changes=False) for number in range(1, 5))
CONF = {"optimization": "never"}
RESUME = "`bin/amop runs resume 7` resumes it"


class PlayedAirflow:
    """Every run ends as failed at first, and as success after something was pressed; it records what is pressed."""

    def __init__(self) -> None:
        self.pressed: list[tuple[str, str]] = []
        self.triggered: list[tuple[str, Any]] = []
        self.failing = {"matrix_a"}

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if method == "POST" and path.endswith("/dagRuns"):
            assert body is not None
            self.triggered.append((body["dag_run_id"], body["conf"]))
        elif method == "POST" and path.endswith("/clearTaskInstances"):
            assert body is not None
            self.pressed.append(("downstream" if body["include_downstream"] else "clear", str(body["task_ids"])))
            self.failing.clear()
        else:
            self.pressed.append((method, path))
            self.failing.clear()
        return {}

    def run_state(self, _dag_id: str, run_id: str) -> str:
        return "failed" if run_id in self.failing else "success"

    def task_instances(self, _dag_id: str, run_id: str) -> list[dict[str, Any]]:
        tasks = [("sync.queue_sync", 0), ("cleanup.merge_usage", 1), ("cleanup.merge_usage", 0)]
        state = "failed" if run_id in self.failing else "success"
        return [{"task_id": task, "map_index": index, "state": state} for task, index in tasks]

    def pending_approvals(self) -> list[dict[str, Any]]:
        return []


class PlayedWarehouse:
    """What each provider's day has left; a resumed or new run makes it right."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.errors: dict[int, str] = {}
        self.session_errors: dict[int, str] = {}
        self.notifications: dict[tuple[str, str], str] = {}
        self.commands: list[tuple[str, ...]] = []

    def rows_of(self, _connection: Any, provider: int, tables: dict[str, str], _without: Any) -> dict[str, list[str]]:
        return {table: [self.rows.get(provider, "undisturbed")] for table in tables}

    def latest(self, _connection: Any, provider: int) -> dict[str, Any]:
        names = ("error", "session_error", "instance_error", "changes_status", "changes_reason")
        errors = {"error": self.errors.get(provider), "session_error": self.session_errors.get(provider)}
        return dict.fromkeys(names) | errors

    def notified(self, _connection: Any, dag_id: str, task_id: str) -> str:
        return self.notifications.get((dag_id, task_id), "")

    def amop_command(self, _world: Any, *arguments: str) -> SimpleNamespace:
        self.commands.append(arguments)
        self.rows.clear()
        return SimpleNamespace(stdout="cleared", stderr="")


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> PlayedWarehouse:
    played = PlayedWarehouse()

    @contextmanager
    def nothing(_matrix: Matrix) -> Iterator[None]:
        yield None

    monkeypatch.setattr(matrix_days, "rows_of", played.rows_of)
    monkeypatch.setattr(matrix_days, "latest", played.latest)
    monkeypatch.setattr(matrix_days, "notified", played.notified)
    monkeypatch.setattr(matrix_days, "amop_command", played.amop_command)
    monkeypatch.setattr(matrix_days, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(Matrix, "_warehouse", nothing)
    monkeypatch.setattr(Matrix, "_is_settled", lambda *_: True)
    return played


def play(folder: Path, airflow: PlayedAirflow, group: Group, *, follows: bool = True) -> list[Outcome]:
    world: Any = SimpleNamespace(directory=folder)
    undisturbed = Group(DAG, "matrix_u", [Cell(UNDISTURBED)], CONF, SYNC_TABLES)
    api: Any = airflow
    return list(Matrix(world, api, follows=follows).play([undisturbed, group], seconds=60))


def day(*cells: Cell, is_chain: bool = False) -> Group:
    return Group(DAG, "matrix_a", cells, {**CONF, "service_provider_ids": [9]}, SYNC_TABLES, is_chain=is_chain)


def test_each_task_is_pressed_later_ones_first_and_a_run_once(tmp_path: Path, warehouse: PlayedWarehouse) -> None:
    airflow = PlayedAirflow()
    tasks = (
        Cell(FIRST, "sync.queue_sync", "", Action.CLEAR_DOWNSTREAM),
        Cell(SECOND, "cleanup.merge_usage", "", Action.CLEAR),
        Cell(NEIGHBOUR),
    )
    outcomes = play(tmp_path, airflow, day(*tasks))
    assert airflow.pressed == [
        ("clear", "[['cleanup.merge_usage', 1]]"),
        ("downstream", "[['sync.queue_sync', 0]]"),
    ]
    assert [outcome.is_right for outcome in outcomes] == [True] * 3
    assert not list((tmp_path / "airflow" / "faults").iterdir())

    airflow = PlayedAirflow()
    whole = [Cell(cell.provider, cell.task, "", Action.CLEAR_FAILED if cell.task else None) for cell in tasks]
    play(tmp_path, airflow, day(*whole))
    assert airflow.pressed == [("POST", f"/dags/{DAG}/dagRuns/matrix_a/clear")]
    assert warehouse.commands == []


def test_what_the_sentence_says_is_done_and_compared_again(tmp_path: Path, warehouse: PlayedWarehouse) -> None:
    warehouse.rows = {FIRST.id: "half", SECOND.id: "half"}
    warehouse.errors = {FIRST.id: RESUME, SECOND.id: "Nothing older overwrites anything newer"}
    airflow = PlayedAirflow()
    cells = (
        Cell(FIRST, "sync.queue_sync", "", Action.CLEAR),
        Cell(SECOND, "cleanup.merge_usage", "", Action.CLEAR),
    )
    first, second = play(tmp_path, airflow, day(*cells))
    assert warehouse.commands == [("runs", "resume", "7")]
    assert airflow.triggered[-1] == ("matrix_a_again", {**CONF, "service_provider_ids": [SECOND.id]})
    assert (first.followed, second.followed) == ("runs resume: cleared", "a new run")
    assert first.is_right and second.is_right and first.differences


def test_a_task_that_only_a_notification_names_is_cleared_with_downstream(
    tmp_path: Path, warehouse: PlayedWarehouse
) -> None:
    warehouse.rows = {FIRST.id: "half"}
    warehouse.notifications = {(DAG, "sync.queue_sync"): "a fault: clear that task with its downstream tasks"}
    airflow = PlayedAirflow()
    (outcome,) = play(tmp_path, airflow, day(Cell(FIRST, "sync.queue_sync", "", Action.MARK_SUCCESS)))
    assert airflow.pressed[-1] == ("downstream", "[['sync.queue_sync', 0]]")
    assert (outcome.followed, outcome.is_right) == ("cleared with downstream", False)  # what is played repairs nothing


@pytest.mark.parametrize(
    ("tables", "cleared"), [(SYNC_TABLES, "[['cleanup.merge_usage', 0]]"), (OPTIMIZATION_TABLES, "['open_instance']")]
)
def test_the_task_that_the_first_step_names_is_cleared_with_downstream(
    tables: dict[str, str], cleared: str, tmp_path: Path, warehouse: PlayedWarehouse
) -> None:
    warehouse.rows = {FIRST.id: "half"}
    errors = warehouse.errors if tables is SYNC_TABLES else warehouse.session_errors
    errors[FIRST.id] = "a fault"
    airflow = PlayedAirflow()
    group = day(Cell(FIRST, "cleanup.merge_usage", "", Action.MARK_FAILED))
    group.tables = tables
    (outcome,) = play(tmp_path, airflow, group)
    assert airflow.pressed[-1] == ("downstream", cleared)
    assert outcome.followed == "cleared with downstream"


def test_a_difference_without_a_sentence_is_wrong(tmp_path: Path, warehouse: PlayedWarehouse) -> None:
    warehouse.rows = {FIRST.id: "half"}
    (outcome,) = play(tmp_path, PlayedAirflow(), day(Cell(FIRST, "sync.queue_sync", "", Action.CLEAR)))
    assert not outcome.is_right and outcome.differences["device"] == ["- undisturbed", "+ half"]


def test_a_sentence_is_enough_where_nothing_is_followed(tmp_path: Path, warehouse: PlayedWarehouse) -> None:
    warehouse.rows, warehouse.errors = {FIRST.id: "half"}, {FIRST.id: RESUME}
    cell = Cell(FIRST, "sync.queue_sync", "", Action.CLEAR)
    (outcome,) = play(tmp_path, PlayedAirflow(), day(cell), follows=False)
    assert outcome.is_right and not outcome.followed and warehouse.commands == []


def test_a_chain_stops_where_the_next_task_has_not_failed(tmp_path: Path, warehouse: PlayedWarehouse) -> None:
    chain = (
        Cell(FIRST, "sync.queue_sync", "", Action.CLEAR),
        Cell(FIRST, "cleanup.merge_usage", "", Action.CLEAR),
    )
    (outcome,) = play(tmp_path, PlayedAirflow(), day(*chain, is_chain=True))
    assert outcome.differences.pop("latest"), "where the day went instead"
    assert outcome.differences == {"task_instance": ["- cleanup.merge_usage failed", "+ cleanup.merge_usage success"]}
    assert not outcome.is_right and warehouse.commands == []
