"""`amop optimize --usage-scenarios`: the figures that it prints, and its messages about invalid files."""

from __future__ import annotations

import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests.worlds.optimize_folder import DEVICES, Folder

ROOT = Path(__file__).resolve().parents[3]

SCENARIOS = """usage_mb_2,device_id,usage_mb_1,note
0.4,d1,0.4,same
3,d2,3.000001,
350,d3,250,
200,d4,80.5,
"""


def with_scenarios(folder: Folder, text: str = SCENARIOS) -> list[str]:
    folder.write(scenarios=text)
    return ["--usage-scenarios", str(folder.path / "scenarios.csv")]


def test_the_figures_are_those_of_both_scenarios(folder: Folder) -> None:
    status, out, err = folder.run(*with_scenarios(folder))
    assert (status, err) == (0, f"amop: ignored columns: {folder.path / 'scenarios.csv'}: note\n")
    # d1 and d2 cost 1.10 and 4. In the second scenario the pool of 400 MB is 150 MB short: 15 blocks of 1.50.
    summary = folder.summary()
    assert folder.answer() == {"d1": "small", "d2": "large", "d3": "pooled 200", "d4": "pooled 200"}
    assert summary["total_cost"] == "23.100002"
    assert summary["expected_cost"] == summary["expected_lower_bound"] == "34.350002"
    assert (summary["cost_5_percent"], summary["cost_95_percent"]) == ("23.100002", "45.600002")
    assert (summary["scenarios"], summary["status"], summary["expected_gap"]) == (2, "optimal", 0)
    # On the present plans the pool has 300 MB: 4 and 25 blocks, and d3 is on its base assignment.
    assert summary["expected_current_cost"] == "42.350001"
    assert summary["expected_savings"] == "7.999999"
    assert summary["pools"] == [
        {"pool": "pool shared", "overage_probability": 0.5, "expected_overage": "11.250000"},
    ]
    names = [line.split()[0] for line in out.splitlines()]
    assert names[:-1] == [name for name in summary if name != "pools"]
    assert out.splitlines()[-1] == "pool shared: probability of overage 0.500, expected overage 11.250000"


def test_without_scenarios_the_figures_are_the_same_as_before(folder: Folder) -> None:
    assert folder.run()[0] == 0
    assert not [name for name in folder.summary() if name.startswith(("expected", "pools", "scenario"))]


def test_one_scenario_like_the_devices_file_changes_no_plan(folder: Folder) -> None:
    usage = {line.split(",")[0]: line.split(",")[2] for line in DEVICES.splitlines()[1:]}
    assert folder.run()[0] == 0
    answer, total = folder.answer(), folder.summary()["total_cost"]
    text = "device_id,usage_mb_1\n" + "".join(f"{device},{used}\n" for device, used in usage.items())
    assert folder.run(*with_scenarios(folder, text))[0] == 0
    assert (folder.answer(), folder.summary()["expected_cost"]) == (answer, total)


def test_a_minimum_saving_has_an_expected_objective(folder: Folder) -> None:
    assert folder.run(*with_scenarios(folder), "--min-saving", "100")[0] == 0
    summary = folder.summary()
    assert summary["voluntary_changes"] == 0
    assert summary["expected_objective"] == summary["expected_cost"] == summary["expected_current_cost"]
    assert Decimal(str(summary["expected_objective_bound"])) <= Decimal(str(summary["expected_objective"]))


def test_a_risk_weight_has_a_gap_and_with_a_minimum_saving_an_objective(folder: Folder) -> None:
    status, out, _ = folder.run(*with_scenarios(folder), "--risk-weight", "1", "--min-saving", "0.5")
    summary = {name: Decimal(str(value)) for name, value in folder.summary().items() if name.startswith("risk")}
    assert status == 0 and f"risk_adjusted_gap {folder.summary()['risk_adjusted_gap']}" in out.splitlines()
    cost, bound = summary["risk_adjusted_cost"], summary["risk_adjusted_lower_bound"]
    assert bound <= cost and abs(summary["risk_adjusted_gap"] - (cost - bound) / cost) < Decimal("1e-6")
    changes = Decimal(str(folder.summary()["voluntary_changes"]))
    assert summary["risk_adjusted_objective"] == cost + changes / 2
    assert summary["risk_adjusted_objective_bound"] <= summary["risk_adjusted_objective"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("350,d3", "-1,d3", "line 4, column usage_mb_2: '-1' is negative"),
        ("350,d3", "much,d3", "line 4, column usage_mb_2: 'much' is not a number"),
        ("350,d3", "350,d5", "column device_id: has no line for device 'd3'"),
        ("350,d3", "350,d2", "line 4, column device_id: 'd2' is a duplicate of line 3"),
        ("350,d3,250,\n200,d4,80.5,\n", "", "column device_id: has no line for device 'd3', nor 1 other devices"),
        ("usage_mb_2,device_id,usage_mb_1", "high,device_id,low", "line 1: has 0 columns usage_mb_1, usage_mb_2"),
        ("device_id", "device", "line 1, column device_id: missing column device_id"),
    ],
)
def test_a_wrong_file_of_scenarios_is_named_with_line_column_and_value(
    folder: Folder, old: str, new: str, message: str
) -> None:
    assert old in SCENARIOS
    status, out, err = folder.run(*with_scenarios(folder, SCENARIOS.replace(old, new)))
    assert (status, out) == (2, "")
    assert f"{folder.path / 'scenarios.csv'}, {message}" in err
    assert not (folder.path / "A.csv").exists()


@pytest.mark.parametrize("option", [["--max-changes", "1"], ["--explain", "d1"]])
def test_options_that_scenarios_do_not_have_are_refused(folder: Folder, option: list[str]) -> None:
    status, _, err = folder.run(*with_scenarios(folder), *option)
    assert status == 2
    assert "--usage-scenarios and --history cannot be combined with each other, --max-changes or --explain" in err


def test_a_usage_that_cannot_be_billed_names_its_device_and_line(folder: Folder) -> None:
    status, _, err = folder.run(*with_scenarios(folder, SCENARIOS.replace("200,d4", f"{'9' * 11},d4")))
    assert status == 2
    assert "devices.csv, line 5: device 'd4': " in err


def test_the_example_of_the_documentation_gives_its_output(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "optimize.md").read_text(encoding="utf-8").partition("## Uncertain usage")[2]
    script = text.split("```bash\n")[1].split("```")[0].replace(" answer.csv", f" {tmp_path / 'answer.csv'}")
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, cwd=ROOT)
    shown = done.stdout[done.stdout.index("scenarios ") :].splitlines()
    assert shown == text.split("```text\n")[1].split("```")[0].splitlines()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("device_id,usage_mb_1,usage_mb_3", "has column usage_mb_3, but no usage_mb_2"),
        ("device_id,usage_mb_2,usage_mb_3", "has column usage_mb_3, but no usage_mb_1"),
        ("device_id,usage_mb_0,usage_mb_1", "has column usage_mb_0, but no usage_mb_2"),
        ("device_id,usage_mb_01,usage_mb_2", "has column usage_mb_01, but no usage_mb_1"),
    ],
)
def test_scenarios_that_are_not_numbered_without_a_gap_are_refused(folder: Folder, header: str, text: str) -> None:
    lines = "".join(f"d{number},1,1\n" for number in range(1, 5))
    status, _, err = folder.run(*with_scenarios(folder, f"{header}\n{lines}"))
    assert status == 2
    assert f"{text}; the scenarios must be numbered from 1 without a gap" in err
