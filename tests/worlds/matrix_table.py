"""The chapter of docs/reliability.md that `make matrix` writes, and `make reliability` keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.worlds.matrix_cells import DAILY_TASKS, OPTIMIZATION_TASKS, Action, Followed

if TYPE_CHECKING:  # every test session imports this module
    from tests.worlds.matrix_days import Outcome

TITLE = "What operators press"
HEADING = f"\n## {TITLE}\n"

CHAINED = "same, in a chain"
SAME, SKIPPED, RESUMED, CLEARED = "same", "skipped", "same, resumed", "same, cleared"
NEW_RUN, WRONG = "same, new run", "**wrong**"

NOT_PLAYED = "—"

FOLLOWED = {Followed.NEW_RUN: NEW_RUN, Followed.CLEARED: CLEARED, Followed.RESUMED: RESUMED}
"""What was done because a sentence says so, and the word for it; of several, the first."""

INTRODUCTION = """
Every task of a day fails for good, its cause is removed, and an operator presses something in Airflow, through its REST
API and on its real scheduler. Each cell has a provider of its own, with the same SIMs at the carrier. `make matrix`
plays the cells and writes this chapter; a part of them (`make matrix K="merge_usage, clear"`) replaces only its own.
{played} of {cells} cells were played, {wrong} of them are wrong.

* *{same}*: the handle alone leads to the rows of an undisturbed day.
* *{chained}*: several tasks of one day failed one after another, and each handle led on; the day ends with the same
  rows. This is the subset that the end-to-end tests play.
* *{skipped}*: the same, but for the work of the task itself, which was marked as success.
* *{resumed}*: the run ends with a sentence that names `bin/amop runs resume`, which leads to those rows; `maintenance`
  may have to archive the answers.
* *{cleared}*: the page and a notification say which task to clear with downstream tasks, which leads to those rows.
  Where the whole run was marked failed, Airflow has skipped the reports that had not begun, and they are not sent.
* *{new_run}*: the run ends with an error or with a sentence that asks for a new run, which leads to the SIMs and usage,
  or to the optimization, of an undisturbed day. The second sync of a day may know the details of more SIMs.
* *{nothing}*: this cell was not played since the chapter was begun.
"""


def chapter_of_matrix(outcomes: Sequence[Outcome], before: str = "") -> str:
    """Return the chapter, with its heading; cells that were not played are taken from the chapter before."""
    words = _words_of(before) | _played(outcomes)
    tables = ""
    for title, tasks in (("daily DAG", DAILY_TASKS), ("optimization DAG", OPTIMIZATION_TASKS)):
        tables += f"\n| task of the {title} | " + " | ".join(Action) + " |\n" + "|---" * (len(Action) + 1) + "|\n"
        for task in tasks:
            tables += f"| `{task}` | " + " | ".join(words.get((task, action), NOT_PLAYED) for action in Action) + " |\n"
    found = [words.get((task, action), NOT_PLAYED) for task in (*DAILY_TASKS, *OPTIMIZATION_TASKS) for action in Action]
    introduction = INTRODUCTION.format(
        cells=len(found),
        played=len(found) - found.count(NOT_PLAYED),
        wrong=found.count(WRONG),
        same=SAME,
        chained=CHAINED,
        skipped=SKIPPED,
        resumed=RESUMED,
        cleared=CLEARED,
        new_run=NEW_RUN,
        nothing=NOT_PLAYED,
    )
    return HEADING + introduction + tables


def _played(outcomes: Sequence[Outcome]) -> dict[tuple[str, Action], str]:
    cells: dict[tuple[str, Action], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        is_judged = not outcome.differences or outcome.followed or not outcome.is_right
        if is_judged and outcome.cell.task is not None and outcome.cell.action is not None:
            cells[outcome.cell.task, outcome.cell.action].append(outcome)
    return {cell: _word(found) for cell, found in cells.items()}


def _words_of(chapter: str) -> dict[tuple[str, Action], str]:
    rows = [line.strip("| ").split(" | ") for line in chapter.splitlines() if line.startswith("| `")]
    return {
        (task.strip("`"), action): word for task, *words in rows for action, word in zip(Action, words, strict=True)
    }


def _word(outcomes: Sequence[Outcome]) -> str:
    """Return what became of a cell; of several providers of a cell, the worst."""
    if not all(outcome.is_right for outcome in outcomes):
        return WRONG
    followed = {outcome.followed.partition(":")[0] for outcome in outcomes if outcome.differences}
    for what, word in FOLLOWED.items():
        if what in followed:
            return word
    if any(outcome.is_skipped for outcome in outcomes):
        return SKIPPED
    return CHAINED if all(outcome.is_chained for outcome in outcomes) else SAME


def kept_chapter(document: str) -> str:
    """Return the chapter of a document, empty if it has none."""
    _, heading, rest = document.partition(HEADING)
    return heading + rest


def write_chapter(document: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the chapter at the end of the document, with the cells that an earlier one has and that were not played."""
    text = document.read_text(encoding="utf-8")
    others, _, _ = text.partition(HEADING)
    document.write_text(others + chapter_of_matrix(outcomes, kept_chapter(text)), encoding="utf-8")
