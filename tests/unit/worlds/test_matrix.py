"""The matrix of tasks and handles: its cells, and the chapter of docs/reliability.md that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.matrix_cells import DAILY_TASKS, OPTIMIZATION_TASKS, Action
from tests.worlds.matrix_days import Cell, Outcome
from tests.worlds.matrix_plan import Plan, covering_subset, whole_matrix
from tests.worlds.matrix_table import WRONG, chapter_of_matrix, kept_chapter, write_chapter
from tests.worlds.matrix_world import Provider

ROOT = Path(__file__).resolve().parents[3]
CELLS = {(task, action) for task in (*DAILY_TASKS, *OPTIMIZATION_TASKS) for action in Action}
PROVIDER = Provider(1001, "jasper", applies_changes=False)


def cells_of(plan: Plan) -> set[tuple[str, Action]]:
    return {
        (cell.task, cell.action)
        for group in plan.groups
        for cell in group.cells
        if cell.task is not None and cell.action is not None
    }


def test_the_whole_matrix_has_every_task_with_every_action_and_a_provider_of_its_own_for_each() -> None:
    plan = Plan()
    whole_matrix(plan)
    assert cells_of(plan) == CELLS
    providers = [provider.id for provider in plan.providers]
    assert len(providers) == len(set(providers)) > len(CELLS)


def test_a_part_of_the_matrix_is_chosen_by_the_name_of_its_cells() -> None:
    plan = Plan()
    whole_matrix(plan, "merge_usage, mark")
    assert cells_of(plan) == {("cleanup.merge_usage", Action.MARK_SUCCESS), ("cleanup.merge_usage", Action.MARK_FAILED)}


def test_the_covering_subset_has_every_task_and_every_action() -> None:
    plan = Plan()
    covering_subset(plan)
    assert {task for task, _ in cells_of(plan)} == {*DAILY_TASKS, *OPTIMIZATION_TASKS}
    assert {action for _, action in cells_of(plan)} == set(Action)


def test_every_run_is_compared_with_an_undisturbed_run_of_its_dag() -> None:
    plan = Plan()
    covering_subset(plan)
    plan.add_undisturbed()
    undisturbed = [group.baseline for group in plan.groups if group.is_undisturbed]
    assert sorted(undisturbed) == sorted({group.baseline for group in plan.groups})


def test_the_chapter_names_what_led_to_the_rows_of_an_undisturbed_day(tmp_path: Path) -> None:
    same = Outcome(Cell(PROVIDER, "solve", "", Action.CLEAR), {}, "")
    resumed = Outcome(Cell(PROVIDER, "sync.queue_sync", "", Action.CLEAR), {"device": ["- a"]}, "resume it")
    resumed.followed = "runs resume: cleared 3 task instances"
    silent = Outcome(Cell(PROVIDER, "solve", "", Action.DELETE_RUN), {"device": ["- a"]}, "")
    chapter = " ".join(chapter_of_matrix([same, resumed, silent]).split())
    assert f"3 of {len(CELLS)} cells were played, 1 of them are wrong" in chapter
    assert "| `sync.queue_sync` | same, resumed | — | " in chapter
    assert f"| `solve` | same | {'— | ' * 5}{WRONG} |" in chapter
    document = tmp_path / "reliability.md"
    document.write_text("# Reliability\n\n## Guards\n\ntext\n")
    for outcomes in ([same, resumed], [silent], [same]):
        write_chapter(document, outcomes)
    assert document.read_text() == "# Reliability\n\n## Guards\n\ntext\n" + chapter_of_matrix([same, resumed, silent])


@pytest.mark.parametrize("task", [*DAILY_TASKS, *OPTIMIZATION_TASKS])
def test_the_committed_table_has_every_task_and_nothing_is_wrong(task: str) -> None:
    """`make matrix` writes it anew."""
    chapter = kept_chapter((ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"))
    (row,) = [line for line in chapter.splitlines() if line.startswith(f"| `{task}` |")]
    assert row.count(" | ") == len(Action) and WRONG not in row
