"""The list of mutants fits the code: each can be planted, and its tests exist."""

from __future__ import annotations

import pytest

from tools.mutants import ROOT, Mutant, mutants, with_results


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


def test_the_results_of_a_part_replace_only_their_own_rows_of_the_chapter() -> None:
    first, second, third = (mutant.name for mutant in mutants()[:3])
    document = "# A\n\n## Kills\n\n1\n\n## What operators press\n\n3\n"
    once = with_results(document, {first: "tests/a.py", third: ""})
    both = with_results(once, {second: "tests/b.py", third: "tests/c.py"})
    assert f"| {first} | `tests/a.py` |\n| {third} | **missed** |\n" in once
    assert f"Of {len(mutants())} mutants 2 were planted, 1 of them were found." in once
    rows = f"| {first} | `tests/a.py` |\n| {second} | `tests/b.py` |\n| {third} | `tests/c.py` |\n"
    assert f"{rows}\n## What operators press" in both
    assert both.startswith("# A\n\n## Kills\n\n1\n\n## Planted faults\n") and both.endswith("\n3\n")
    assert with_results("# A\n", {}).startswith("# A\n\n## Planted faults\n")
