"""The chapter of docs/reliability.md that `make matrix` writes, and `make reliability` keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.worlds.matrix_cells import DAILY_TASKS, OPTIMIZATION_TASKS, Action

if TYPE_CHECKING:  # every test session imports this module
    from tests.worlds.matrix_days import Outcome

TITLE = "What operators press"
HEADING = f"\n## {TITLE}\n"

SAME, RESUMED, NEW_RUN, WRONG = "same", "same, resumed", "same, new run", "**wrong**"

INTRODUCTION = """
Every task of a day fails for good, its cause is removed, and an operator presses something in Airflow, through its REST
API and on its real scheduler. `make matrix` plays all {cells} cells and writes this chapter: {right} end with the rows
of an undisturbed day, {wrong} do not. Each cell has a provider of its own, with the same SIMs at the carrier.

* *{same}*: the handle alone leads to the rows of an undisturbed day, and the one ErrorMessage of a failed session.
* *{resumed}*: the run ends with a sentence that names `bin/amop runs resume`, which leads to those rows.
* *{new_run}*: the run ends with a sentence that asks for a new run, which leads to the SIMs and usage, or to the
  optimization, of an undisturbed day.
"""


def chapter_of_matrix(outcomes: Sequence[Outcome]) -> str:
    """Return the chapter, with its heading."""
    cells: dict[tuple[str, Action], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.cell.task is not None and outcome.cell.action is not None:
            cells[outcome.cell.task, outcome.cell.action].append(outcome)
    right = sum(all(outcome.is_right for outcome in found) for found in cells.values())
    text = HEADING + INTRODUCTION.format(
        cells=len(cells), right=right, wrong=len(cells) - right, same=SAME, resumed=RESUMED, new_run=NEW_RUN
    )
    for title, tasks in (("daily DAG", DAILY_TASKS), ("optimization DAG", OPTIMIZATION_TASKS)):
        text += f"\n| task of the {title} | " + " | ".join(Action) + " |\n" + "|---" * (len(Action) + 1) + "|\n"
        for task in tasks:
            found = [_word(cells[task, action]) for action in Action]
            text += f"| `{task}` | " + " | ".join(found) + " |\n"
    return text


def _word(outcomes: Sequence[Outcome]) -> str:
    """Return what became of a cell; of several providers of a cell, the worst."""
    if not outcomes or not all(outcome.is_right for outcome in outcomes):
        return WRONG
    followed = {outcome.followed.partition(":")[0] for outcome in outcomes if outcome.differences}
    return NEW_RUN if "a new run" in followed else RESUMED if followed else SAME


def kept_chapter(document: str) -> str:
    """Return the chapter of a document, empty if it has none."""
    _, heading, rest = document.partition(HEADING)
    return heading + rest


def write_chapter(document: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the chapter at the end of the document, in the place of an earlier one."""
    others, _, _ = document.read_text(encoding="utf-8").partition(HEADING)
    document.write_text(others + chapter_of_matrix(outcomes), encoding="utf-8")
