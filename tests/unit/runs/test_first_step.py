"""What to do first about an error is said in one place, and the runbook explains each of these errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from amop.runs.first_step import FIRST_STEPS, OTHERWISE, OTHERWISE_OF_SESSION, first_step

RUNBOOK = (Path(__file__).resolve().parents[3] / "docs" / "runbook.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [text for text, _ in FIRST_STEPS])
def test_the_runbook_explains_every_error_that_has_a_first_step(text: str) -> None:
    assert text.rstrip("(").strip() in RUNBOOK


def test_the_first_step_follows_from_the_text_of_the_error() -> None:
    refused = "POD19 (2): the carrier refused the login of connection c (401: no). Check login and password"
    assert first_step(refused).startswith("correct login and password of the connection that the error names")
    assert first_step("run 7 is held by run 6").startswith("wait for that run")
    assert first_step("something new") == first_step(None) == OTHERWISE


def test_an_error_that_ended_a_session_asks_to_clear_the_task_that_opens_a_new_one() -> None:
    assert first_step("something new", of_session=True) == OTHERWISE_OF_SESSION
    assert "clear open_instance" in OTHERWISE_OF_SESSION
    ended = "instance 2 of session 3 has ended: or its key (. Clear open_instance with downstream tasks, which opens"
    assert first_step(ended).startswith("clear open_instance of that run")
    marked = "Optimization session 9 of AT&T (1) was at 50 % when its DAG run ended in Airflow: it was marked"
    assert first_step(marked, of_session=True) == "clear open_instance of that run with its downstream tasks"
    assert first_step(marked) == "clear the failed task of this provider with its downstream tasks"


def test_a_task_that_was_marked_as_success_too_early_is_the_one_to_clear() -> None:
    error = "AT&T (1): merge_devices of run 28 has not done its work, although a later task has started (an operator"
    assert first_step(error).startswith("clear the task that has not run, which the error names")
