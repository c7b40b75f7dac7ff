"""The list of mutants fits the code: each can be planted, and its tests exist."""

from __future__ import annotations

import pytest

from tools.mutants import ROOT, Mutant, mutants


def test_there_are_at_least_forty_mutants_of_every_part() -> None:
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names) >= 40
    assert {name.partition(":")[0] for name in names} >= {
        "merge",
        "usage",
        "guard",
        "history",
        "outbox",
        "apply",
        "sensor",
    }


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_planted_and_its_tests_exist(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert mutant.planted(text) != text
    assert all((ROOT / path).exists() for path in mutant.tests)
