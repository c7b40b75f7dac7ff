"""The record of what the tests broke, and the table made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability import FILE_VARIABLE, RecordFault, record_fault, table_of


def test_rows_of_a_test_become_a_table_in_the_order_of_the_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "lines"))
    record_fault(test="tests/chaos/b.py::test_b[503]", fault="503", injected=1, expected="same", seen="old")
    record_fault(test="tests/chaos/b.py::test_b[503]", fault="503", injected=3, expected="same", seen="a|b\nc")
    record_fault(test="tests/chaos/a.py::test_a", fault="reset", injected=2, expected="same", seen="same")
    reliability(fault="none", injected=1, expected="x", seen="x")
    rows = table_of((tmp_path / "lines").read_text()).splitlines()[-3:]
    assert rows[0] == "| reset | 2 | same | same | `tests/chaos/a.py::test_a` |"
    assert rows[1] == "| 503 | 3 | same | a\\|b c | `tests/chaos/b.py::test_b` |"
    assert "test_reliability.py::test_rows_of_a_test" in rows[2]


def test_nothing_recorded_and_nothing_injected_are_errors() -> None:
    with pytest.raises(ValueError, match="no fault was recorded"):
        table_of("")
    with pytest.raises(AssertionError, match="nothing was injected"):
        record_fault(fault="503", injected=0, expected="same", seen="same")
