"""The parts of the sync benchmark that compute: pages, sections of the document, the best possible pace."""

from __future__ import annotations

import json

import pytest

from bench.carrier import build_pages, iccid_of
from bench.markdown import markdown, with_section
from bench.sync import best_possible


def test_the_pages_hold_every_sim_once_and_the_last_one_says_so() -> None:
    pages = [json.loads(page) for page in build_pages(120, 50)]
    assert [len(page["devices"]) for page in pages] == [50, 50, 20]
    assert [page["lastPage"] for page in pages] == [False, False, True]
    assert len({device["iccid"] for page in pages for device in page["devices"]}) == 120
    assert iccid_of(7).isdigit() and len(iccid_of(7)) == 19


def test_a_section_is_replaced_and_the_others_stay() -> None:
    text = "# Title\n\n## One\n\nold\n\n## Two\n\nkept\n"
    assert with_section(text, "One", ["new"]) == "# Title\n\n## One\n\nnew\n\n## Two\n\nkept\n"


def test_a_new_section_comes_last() -> None:
    assert with_section("# Title\n\n## One\n\nkept\n", "Two", ["new"]) == (
        "# Title\n\n## One\n\nkept\n\n## Two\n\nnew\n"
    )


def test_rows_are_a_table() -> None:
    assert markdown([{"a": 1, "b": "x"}]) == ["| a | b |", "|---|---|", "| 1 | x |", ""]


def test_the_best_possible_pace_is_five_arrivals_a_second_or_one_call_after_another() -> None:
    assert best_possible([0.02] * 25) == pytest.approx(4.0)  # 20 calls after the five that are free
    assert best_possible([0.4] * 25) == pytest.approx(20 * 0.4)
    # A call of two seconds is lost: those after it come no faster.
    assert best_possible([0.02] * 9 + [2.0] + [0.02] * 15) == pytest.approx(5.0, abs=0.1)
