"""`amop optimize --history`: scenarios from the daily usage of the SIMs, and messages about invalid files."""

from __future__ import annotations

import subprocess
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.worlds.optimize_folder import DEVICES, Folder

ROOT = Path(__file__).resolve().parents[3]
START = date(2026, 11, 1)
USED = {"d1": 0.01, "d2": 0.1, "d3": 20, "d4": 2}


def history(last: date, first: date = START - timedelta(days=20)) -> str:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    lines = [f"{device},{day},{used}" for device, used in USED.items() for day in days]
    return "\n".join(["device_id,date,usage_mb", *lines]) + "\n"


def with_history(folder: Folder, text: str, start: str = str(START)) -> list[str]:
    folder.write(history=text)
    return ["--history", str(folder.path / "history.csv"), "--period-start", start]


def test_the_history_of_a_whole_period_leaves_nothing_uncertain(folder: Folder) -> None:
    assert folder.run(*with_history(folder, history(START + timedelta(days=29))))[0] == 0
    summary = folder.summary()
    # d1 uses 0.30 MB, d2 3 MB, d3 600 MB, d4 60 MB: the pool of 400 MB is 260 MB short, 26 blocks of 1.50.
    assert summary["cost_5_percent"] == summary["cost_95_percent"] == summary["expected_cost"] == "62.100002"
    assert summary["scenarios"] == 64


def test_the_days_that_are_left_are_simulated(folder: Folder) -> None:
    assert folder.run(*with_history(folder, history(START + timedelta(days=22))))[0] == 0
    summary = folder.summary()
    cost = [Decimal(str(summary[name])) for name in ("cost_5_percent", "expected_cost", "cost_95_percent")]
    assert Decimal(55) < cost[0] <= cost[1] <= cost[2] < Decimal(72)
    assert Decimal(str(summary["expected_lower_bound"])) <= cost[1]


def test_the_same_files_give_the_same_answer_whatever_the_order_of_the_lines(folder: Folder) -> None:
    text = history(START + timedelta(days=20))
    assert folder.run(*with_history(folder, text))[0] == 0
    first = folder.answer(), {name: value for name, value in folder.summary().items() if name != "seconds"}
    header, *lines = text.splitlines()
    assert folder.run(*with_history(folder, "\n".join([header, *reversed(lines)])))[0] == 0
    assert (folder.answer(), {n: v for n, v in folder.summary().items() if n != "seconds"}) == first


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("d1,2026-11-02,0.01", "d9,2026-11-02,0.01", "column device_id: 'd9' is not in the devices file"),
        ("d1,2026-11-02,0.01", "d1,2026-11-31,0.01", "column date: '2026-11-31' is not a date such as 2026-11-29"),
        ("d1,2026-11-02,0.01", "d1,2026-11-02,-1", "column usage_mb: '-1' is negative"),
        ("d1,2026-11-02,0.01", "d1,2026-11-01,0.01", "column date: '2026-11-01' has another line for this device"),
        ("d1,2026-11-02,0.01", "d1,2026-11-02,9999999999", "column usage_mb: '9999999999' is too large for one day"),
        (
            "d1,2026-11-02,0.01",
            "d1,2027-01-02,0.01",
            "column date: ends with 2027-01-02, but the period begins on 2026-11-01",
        ),
    ],
)
def test_a_wrong_history_is_named_with_line_column_and_value(folder: Folder, old: str, new: str, message: str) -> None:
    text = history(START + timedelta(days=9))
    assert old in text
    status, out, err = folder.run(*with_history(folder, text.replace(old, new)))
    assert (status, out) == (2, "")
    assert message in err
    assert not (folder.path / "A.csv").exists()


def test_a_history_that_ends_before_the_period_begins_is_refused(folder: Folder) -> None:
    status, _, err = folder.run(*with_history(folder, history(START - timedelta(days=5))))
    assert status == 2
    assert "ends with 2026-10-27, but the period begins on 2026-11-01 and has 30 days" in err


def test_a_period_at_the_end_of_the_calendar_is_refused_like_any_other(folder: Folder) -> None:
    arguments = with_history(folder, history(START + timedelta(days=9)))
    arguments[arguments.index("--period-start") + 1] = "9999-12-31"
    status, _, err = folder.run(*arguments)
    assert (status, "but the period begins on 9999-12-31" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--period-start", "2026-11-01"], "--history and --period-start need each other"),
        (["--history", "H", "--period-start", "today"], "--period-start: 'today' is not a date such as 2026-11-29"),
        (["--history", "H"], "--history and --period-start need each other"),
        (
            ["--history", "H", "--period-start", "2026-11-01", "--usage-scenarios", "S"],
            "cannot be combined with each other",
        ),
        (["--history", "H", "--period-start", "2026-11-01", "--max-changes", "1"], "--max-changes or --explain"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(folder: Folder, options: list[str], message: str) -> None:
    status, _, err = folder.run(*options)
    assert status == 2
    assert message in err


def test_a_sim_counts_from_its_activation(folder: Folder) -> None:
    # d3 is active for the last 10 of 30 days: since 21 November.
    folder.write(devices=DEVICES)
    lines = [line for line in history(START + timedelta(days=22)).splitlines() if not line.startswith("d3")]
    text = "\n".join([*lines, "d3,2026-11-21,20", "d3,2026-11-22,20", "d3,2026-11-23,20"])
    assert folder.run(*with_history(folder, text))[0] == 0
    # 200 MB, and d4 has 60 MB: they need 300 MB, 6.50 + 9.000001 beside 5.10. Over 28 days d3 would have 80 MB.
    assert folder.summary()["expected_cost"] == "20.600001"


def test_the_example_of_the_documentation_gives_its_output(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "optimize.md").read_text(encoding="utf-8").partition("### From the daily history")[2]
    script = text.split("```bash\n")[1].split("```")[0].replace(" answer.csv", f" {tmp_path / 'answer.csv'}")
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, cwd=ROOT)
    shown = done.stdout[done.stdout.index("expected_cost ") :].splitlines()
    assert shown == text.split("```text\n")[1].split("```")[0].splitlines()
