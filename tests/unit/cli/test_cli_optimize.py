"""`amop optimize`: its outputs, what it prints, and its messages about invalid files."""

from __future__ import annotations

import json
import os
import pty
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from amop.solver import Terms, from_micro
from bench.instances import make_instance, write_csv
from tests.worlds.optimize_folder import DEVICES, ELIGIBILITY, RATE_PLANS, Folder
from tests.worlds.optimizer_cases import Case

ROOT = Path(__file__).resolve().parents[3]

SOME_PLAN = ",1,0,1,1,1,0,false,\n"


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(tmp_path, capsys)


def test_the_answer_and_the_figures_are_those_of_the_formula(folder: Folder) -> None:
    status, out, err = folder.run()
    assert (status, err) == (0, "")
    # 1.10 and 4, and 2 x 9.000001 for 400 MB. Today d4 is on 100 MB: 4 blocks of 10 MB above the pool's 300 MB.
    assert folder.answer() == {"d1": "small", "d2": "large", "d3": "pooled 200", "d4": "pooled 200"}
    summary = folder.summary()
    assert list(summary)[:9] == [
        "device_count",
        "total_cost",
        "lower_bound",
        "gap",
        "current_cost",
        "base_cost",
        "savings",
        "changes",
        "seconds",
    ]
    assert summary["total_cost"] == summary["lower_bound"] == "23.100002"
    assert summary["current_cost"] == "26.600001"  # d3 has no known plan: its base assignment, pooled 200
    assert (summary["device_count"], summary["changes"], summary["gap"], summary["status"]) == (4, 1, 0, "optimal")
    assert summary["savings"] == "3.499999"
    assert out.splitlines()[:2] == ["device_count 4", "total_cost 23.100002"]
    assert [line.split()[0] for line in out.splitlines()] == list(summary)


@pytest.mark.parametrize(
    ("options", "terms", "preference"),
    [
        ([], {"uses_proration": False}, {}),
        (["--prorate"], {"uses_proration": True}, {}),
        (["--prorate", "--prorate-allowance"], {"uses_proration": True, "prorate_allowance": True}, {}),
        (["--prorate", "--max-changes", "40"], {"uses_proration": True}, {"max_changes": 40}),
        (["--min-saving", "0.75"], {"uses_proration": False}, {"min_saving_per_change": "0.75"}),
    ],
)
def test_the_command_gives_the_figures_of_the_library(
    folder: Folder, options: list[str], terms: dict[str, Any], preference: dict[str, Any]
) -> None:
    instance = make_instance("default", 400, plan_count=6)
    write_csv(instance, folder.path)
    assert folder.run("--time-limit", "0", *options)[0] == 0
    codes = instance.rate_plans.code
    by_code = sorted(range(len(codes)), key=lambda plan: codes[plan])  # as the command reads them
    case = Case(instance.devices, instance.rate_plans, instance.eligibility, Terms(30, **terms))
    case = case.with_plans_in_order(by_code)
    expected, plans = case.optimize(time_limit=0, **preference), case.rate_plans
    answer = zip(case.devices.device_id.tolist(), expected.assignment, strict=True)
    assert list(folder.answer().items()) == [(device, plans.code[plan]) for device, plan in answer]
    summary = folder.summary()
    for name in ("total_cost", "lower_bound", "current_cost", "base_cost", "savings"):
        assert summary[name] == str(from_micro(getattr(expected, name))), name
    assert (summary["changes"], summary["gap"], summary["status"]) == (expected.changes, expected.gap, expected.status)
    proof = expected.certificate.changes
    assert ("objective" in summary) == (proof is not None)
    if proof is not None:
        assert (summary["objective"], summary["objective_bound"], summary["voluntary_changes"]) == (
            str(from_micro(proof.objective)),
            str(from_micro(proof.bound)),
            proof.change_count,
        )


def test_without_proration_the_active_days_do_not_matter(folder: Folder) -> None:
    assert folder.run()[0] == 0
    before = (folder.path / "A.csv").read_bytes(), folder.summary()["total_cost"]
    folder.write(devices=DEVICES.replace("250,0,10,", "250,0,1,"))
    assert folder.run()[0] == 0
    assert ((folder.path / "A.csv").read_bytes(), folder.summary()["total_cost"]) == before
    assert folder.run("--prorate")[0] == 0
    assert folder.summary()["total_cost"] == "14.400001"  # 9.000001 for 1 of 30 days is 0.300000


def test_the_same_files_give_the_same_bytes_and_shuffled_rows_the_same_plans(folder: Folder) -> None:
    write_csv(make_instance("default", 600), folder.path)
    assert folder.run("--time-limit", "0")[0] == 0
    first, answer = (folder.path / "A.csv").read_bytes(), folder.answer()
    assert folder.run("--time-limit", "0")[0] == 0
    assert (folder.path / "A.csv").read_bytes() == first
    for name in ("devices", "rate_plans", "eligibility"):
        header, *rows = (folder.path / f"{name}.csv").read_text().splitlines()
        random.Random(name).shuffle(rows)
        folder.write(**{name: "\n".join([header, *rows])})
    assert folder.run("--time-limit", "0")[0] == 0
    assert folder.answer() == answer
    assert list(folder.answer()) != list(answer)


def quoted(text: str) -> str:
    return "".join(",".join(f'"{value}"' for value in line.split(",")) + "\r\n" for line in text.splitlines())


FORMS: dict[str, Callable[[str], str | bytes]] = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "byte order mark and quotes": lambda text: b"\xef\xbb\xbf" + quoted(text).encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "no end of line": lambda text: text.rstrip("\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n") + "\n\n",
    "blank CRLF lines": lambda text: text.replace("\n", "\r\n\r\n"),
    "everything quoted": quoted,
    "another column": lambda text: "".join(f"x,{line}\n" for line in text.splitlines()),
    "columns the other way round": lambda text: "".join(
        ",".join(reversed(line.split(","))) + "\n" for line in text.splitlines()
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_may_have_any_usual_form(folder: Folder, form: str) -> None:
    assert folder.run()[0] == 0
    expected = (folder.path / "A.csv").read_bytes()
    texts = {"devices": DEVICES, "rate_plans": RATE_PLANS, "eligibility": ELIGIBILITY}
    folder.write(**{name: FORMS[form](text) for name, text in texts.items()})
    status, _, err = folder.run()
    assert (status, (folder.path / "A.csv").read_bytes()) == (0, expected)
    assert err.count("devices.csv: x") == (1 if form == "another column" else 0)


def test_ids_and_codes_may_hold_commas_quotes_and_line_ends(folder: Folder) -> None:
    folder.write(
        devices=DEVICES.replace("d1,", '"d ""1"",\nüber",').replace(",small", ',"small, {0}"'),
        rate_plans=RATE_PLANS.replace("small,", '"small, {0}",'),
        eligibility=ELIGIBILITY.replace(",small", ',"small, {0}"'),
    )
    assert folder.run()[0] == 0
    assert next(iter(folder.answer().items())) == ('d "1",\nüber', "small, {0}")


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        ("0.4", "1.100000"),
        (" 0.4 ", "1.100000"),
        ("4e-1", "1.100000"),
        ("+.4", "1.100000"),
        ("1.", "1.100000"),
        ("1.0000004999", "1.100000"),
        ("1.0000005", "1.600000"),
        ("1.1000005", "2.100000"),
        ("1.1", "1.600000"),
        ("1.10000049999999999999", "1.600000"),
        ("0", "1.100000"),
        ("-0", "1.100000"),
        ("1.2e0", "2.100000"),
    ],
)
def test_numbers_are_exact_and_rounded_half_up_to_six_decimals(folder: Folder, usage: str, total: str) -> None:
    header = DEVICES.splitlines()[0]
    folder.write(devices=f"{header}\nd1,meters,{usage},0,30,\n")
    assert folder.run()[0] == 0
    assert folder.summary()["total_cost"] == total


def test_a_fleet_without_sims_costs_nothing(folder: Folder) -> None:
    folder.write(devices=DEVICES.splitlines()[0])
    status, out, _ = folder.run()
    assert (status, (folder.path / "A.csv").read_text()) == (0, "device_id,rate_plan_code\n")
    assert (folder.summary()["total_cost"], folder.summary()["lower_bound"]) == ("0.000000", "0.000000")
    assert "device_count 0" in out


def test_without_a_pool_column_a_pooled_plan_is_its_own_pool(folder: Folder) -> None:
    lines = [line.rpartition(",")[0] for line in RATE_PLANS.splitlines()]
    folder.write(rate_plans="\n".join(lines))
    assert folder.run()[0] == 0
    assert folder.summary()["total_cost"] == "23.100002"
    assert folder.summary()["current_cost"] == "28.100001"  # d3 pays for 5 blocks, whatever d4 leaves over


def replace(old: str, new: str) -> Callable[[str], str]:
    def changed(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return changed


WRONG = {
    "negative usage": ("devices", replace("0.4", "-0.4"), 2, "usage_mb", "'-0.4' is negative"),
    "usage is text": ("devices", replace("0.4", "much"), 2, "usage_mb", "'much' is not a number"),
    "usage is nan": ("devices", replace("0.4", "nan"), 2, "usage_mb", "'nan' is not a number"),
    "usage is infinite": ("devices", replace("0.4", "inf"), 2, "usage_mb", "'inf' is not a number"),
    "usage is empty": ("devices", replace("0.4", ""), 2, "usage_mb", "'' is not a number"),
    "usage has a unit": ("devices", replace("0.4", "0.4 MB"), 2, "usage_mb", "'0.4 MB' is not a number"),
    "usage has underscores": ("devices", replace("0.4", "1_000"), 2, "usage_mb", "'1_000' is not a number"),
    "usage in other digits": ("devices", replace("0.4", "٣"), 2, "usage_mb", "'٣' is not a number"),
    "usage is hexadecimal": ("devices", replace("0.4", "0x10"), 2, "usage_mb", "'0x10' is not a number"),
    "usage is too large": ("devices", replace("0.4", "9" * 14), 2, "usage_mb", f"'{'9' * 14}' is too large"),
    "usage has a huge exponent": ("devices", replace("0.4", "1e99"), 2, "usage_mb", "'1e99' is too large"),
    "a part of an SMS": ("devices", replace(",2,30", ",2.5,30"), 3, "sms_usage", "'2.5' is not a whole number"),
    "negative SMS": ("devices", replace(",2,30", ",-2,30"), 3, "sms_usage", "'-2' is negative"),
    "no active day": ("devices", replace("250,0,10", "250,0,0"), 4, "days_active", "'0' is not within 1 and 30"),
    "too many active days": (
        "devices",
        replace("250,0,10", "250,0,31"),
        4,
        "days_active",
        "'31' is not within 1 and 30",
    ),
    "half a day": ("devices", replace("250,0,10", "250,0,9.5"), 4, "days_active", "'9.5' is not a whole number"),
    "duplicate device": ("devices", replace("d4", "d1"), 5, "device_id", "'d1' is a duplicate of line 2"),
    "empty device id": ("devices", replace("d2", ""), 3, "device_id", "'' is empty"),
    "long device id": ("devices", replace("d2", "x" * 256), 3, "device_id", "longer than 255"),
    "unknown current plan": ("devices", replace("30,large", "30,larg"), 3, "current_rate_plan", "'larg' is not in {P}"),
    "plan in other letters": ("devices", replace("30,large", "30,Large"), 3, "current_rate_plan", "'Large' is not in"),
    "no eligible plan": (
        "devices",
        replace("d3,cameras", "d3,routers"),
        4,
        "communication_plan",
        "'routers' has no eligible rate plan in {E}",
    ),
    "no communication plan": ("devices", replace("d3,cameras", "d3,"), 4, "communication_plan", "'' has no eligible"),
    "missing column": ("devices", replace("sms_usage", "sms"), 1, "sms_usage", "missing column sms_usage"),
    "duplicate column": ("devices", replace("sms_usage", "usage_mb"), 1, "usage_mb", "occurs twice"),
    "missing value": ("devices", replace(",0,10,", ",0,10"), 4, "", "'d3,cameras,250,0,10' has 5 values"),
    "a value too many": ("devices", replace("30,small", "30,small,x"), 2, "", "has 7 values, but there are 6 columns"),
    "one too many, one too few": (
        "devices",
        lambda text: text.replace("small", "small,x").replace("0,10,", "0,10"),
        2,
        "",
        "has 7 values",
    ),
    "a quote that is not closed": ("devices", replace("d3", '"d3'), 4, "", "is not CSV"),
    "not UTF-8": (
        "devices",
        lambda text: text.replace("d3", "d\xe9").encode("latin-1"),
        4,
        "",
        r"b'\xe9' is not UTF-8",
    ),
    "a zero byte": ("devices", replace("d3", "d\0"), 4, "", r"'\x00' is not text"),
    "UTF-16": ("devices", lambda text: text.encode("utf-16"), 1, "", r"'\x00' is not text"),
    "empty file": ("devices", lambda text: "", 0, "", "is empty"),
    "blank file": ("devices", lambda text: "\n\n", 0, "", "is empty"),
    "semicolons": ("devices", lambda text: text.replace(",", ";"), 1, "device_id", "missing column device_id"),
    "wrong value after blank and quoted lines": (
        "devices",
        lambda text: text.replace("\n", "\n\n", 1).replace("d1", '"d\n1"').replace("80.5", "-1"),
        7,
        "usage_mb",
        "'-1' is negative",
    ),
    "unknown plan of a communication plan": (
        "eligibility",
        replace("meters,large", "meters,huge"),
        3,
        "rate_plan_code",
        "'huge' is not in {P}",
    ),
    "no plan of a communication plan": ("eligibility", replace("meters,large", "meters,"), 3, "rate_plan_code", "''"),
    "no name of a communication plan": (
        "eligibility",
        replace("meters,large", ",large"),
        3,
        "communication_plan",
        "'' is empty",
    ),
    "eligibility without its column": (
        "eligibility",
        replace("communication_plan", "plan"),
        1,
        "communication_plan",
        "missing column communication_plan; found 'plan,rate_plan_code'",
    ),
    "duplicate plan": (
        "rate_plans",
        replace("large,4", f"small{SOME_PLAN}large,4"),
        3,
        "rate_plan_code",
        "is a duplicate of line 2",
    ),
    "plan without a code": (
        "rate_plans",
        replace("large,4", f"{SOME_PLAN}large,4"),
        3,
        "rate_plan_code",
        "'' is empty",
    ),
    "negative charge": ("rate_plans", replace("large,4", "large,-4"), 3, "rate_charge", "'-4' is negative"),
    "no charge": ("rate_plans", replace("large,4", "large,"), 3, "rate_charge", "'' is not a number"),
    "negative SMS rate": ("rate_plans", replace("0.01,false", "-0.01,false"), 2, "sms_rate", "'-0.01' is negative"),
    "no overage rate": ("rate_plans", replace("0.50,1,", "0,1,"), 3, "overage_rate", "'0' is not above 0"),
    "overage rate below 1e-6": (
        "rate_plans",
        replace("0.50,1,", "0.0000004,1,"),
        3,
        "overage_rate",
        "'0.0000004' is not above 0",
    ),
    "block of nothing": (
        "rate_plans",
        replace("0.50,1,", "0.50,-1,"),
        3,
        "data_per_overage_charge",
        "'-1' is not above 0",
    ),
    "maybe pooled": ("rate_plans", replace("TRUE", "maybe"), 5, "allows_sim_pooling", "'maybe' is not true or false"),
    "pooled or not is empty": ("rate_plans", replace("TRUE", ""), 5, "allows_sim_pooling", "'' is not true or false"),
    "pool with two overage rates": (
        "rate_plans",
        replace("1.50,10.0", "1.6,10.0"),
        5,
        "overage_rate",
        "'1.6' differs from '1.5' on line 4 in the same pool",
    ),
    "pool with two blocks": (
        "rate_plans",
        replace("1.50,10.0", "1.50,10.1"),
        5,
        "data_per_overage_charge",
        "'10.1' differs from '10' on line 4",
    ),
    "pool of a plan that is not pooled": (
        "rate_plans",
        replace("False,", "False,shared"),
        3,
        "pool",
        "'shared' is a pool, but allows_sim_pooling is false",
    ),
    "a charge beyond what can be billed": (
        "rate_plans",
        replace("large,4", f"large,{'9' * 12}"),
        3,
        "",
        "rate plan 'large': rate_charge is too large to be billed",
    ),
    "usage beyond what can be billed": (
        "devices",
        replace("80.5", "9" * 12),
        5,
        "",
        "device 'd4': usage x overage_rate is too large to be billed exactly",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_names_file_line_column_and_value_and_writes_nothing(folder: Folder, what: str) -> None:
    name, change, line, column, message = WRONG[what]
    texts = {"devices": DEVICES, "rate_plans": RATE_PLANS, "eligibility": ELIGIBILITY}
    folder.write(**{name: change(texts[name])})
    status, out, err = folder.run()
    assert (status, out) == (2, "")
    files = {"P": str(folder.path / "rate_plans.csv"), "E": str(folder.path / "eligibility.csv")}
    place = (
        str(folder.path / f"{name}.csv") + (f", line {line}" if line else "") + (f", column {column}" if column else "")
    )
    first = err.splitlines()[0]
    assert first.startswith(f"amop: {place}: ")
    assert message.format(**files) if "{" in message else message in first
    assert err.endswith("1 problem(s); nothing was written\n")
    assert sorted(path.name for path in folder.path.iterdir()) == ["devices.csv", "eligibility.csv", "rate_plans.csv"]


def test_of_thousands_of_problems_the_first_are_listed_and_all_are_counted(folder: Folder) -> None:
    header = DEVICES.splitlines()[0]
    rows = [f"d{number},meters,-{number + 1},x,99,none" for number in range(3000)]
    folder.write(devices="\n".join([header, *rows]), eligibility=ELIGIBILITY.replace("meters,large", "meters,huge"))
    status, _, err = folder.run()
    lines = err.splitlines()
    assert (status, len(lines)) == (2, 22)
    assert "eligibility.csv, line 3, column rate_plan_code: 'huge'" in lines[0]
    assert ["devices.csv, line 2, column current_rate_plan: 'none'" in lines[1], "line 6, " in lines[19]] == [
        True,
        True,
    ]
    assert lines[20:] == ["… and 11,981 more", "12,001 problem(s); nothing was written"]


def test_wrong_input_leaves_older_outputs_as_they_were(folder: Folder) -> None:
    assert folder.run()[0] == 0
    before = (folder.path / "A.csv").read_bytes(), (folder.path / "S.json").read_bytes()
    folder.write(devices=DEVICES.replace("0.4", "-0.4"))
    assert folder.run()[0] == 2
    assert ((folder.path / "A.csv").read_bytes(), (folder.path / "S.json").read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "{folder}/none.csv"], "{folder}/none.csv: cannot be read: No such file or directory"),
        (["--devices", "{folder}"], "{folder}: cannot be read: Is a directory"),
        (["--out", "{folder}/none/A.csv"], "the folder '{folder}/none' does not exist"),
        (["--out", "{folder}"], "{folder} is a folder"),
        (["--out", "{folder}/devices.csv"], "{folder}/devices.csv is given twice, or is an input"),
        (["--summary", "{folder}/A.csv"], "{folder}/A.csv is given twice, or is an input"),
        (["--min-saving", "-1"], "--min-saving: '-1' is negative"),
        (["--min-saving", "much"], "--min-saving: 'much' is not a number"),
        (["--min-saving", "nan"], "--min-saving: 'nan' is not a number"),
        (["--max-changes", "-1"], "--max-changes"),
        (["--max-changes", "1.5"], "--max-changes"),
        (["--period-days", "0"], "--period-days"),
        (["--period-days", "9"], "'10' is not within 1 and 9"),
        (["--time-limit", "-1"], "--time-limit"),
        (["--explain", "d9"], "has no device 'd9'"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_a_reason(folder: Folder, options: list[str], message: str) -> None:
    if "--period-days" in options:
        folder.write(devices=DEVICES.replace(",30,", ",1,"))
    status, out, err = folder.run(*(option.format(folder=folder.path) for option in options))
    assert (status, out) == (2, "")
    assert message.format(folder=folder.path) in err
    assert not (folder.path / "S.json").exists()


def test_an_output_that_cannot_be_written_ends_with_status_1_and_leaves_nothing(folder: Folder) -> None:
    status, _, err = folder.run("--summary", "/proc/S.json")
    assert (status, "/proc/" in err, "nothing was written" in err) == (1, True, True)
    assert sorted(path.name for path in folder.path.iterdir()) == ["devices.csv", "eligibility.csv", "rate_plans.csv"]


def test_outputs_have_the_permissions_of_the_umask_and_follow_links(folder: Folder) -> None:
    (folder.path / "elsewhere").mkdir()
    (folder.path / "A.csv").symlink_to(folder.path / "elsewhere" / "answer.csv")
    assert folder.run()[0] == 0
    written = folder.path / "elsewhere" / "answer.csv"
    mask = os.umask(0)
    os.umask(mask)
    assert (written.is_file(), written.stat().st_mode & 0o777) == (True, 0o666 & ~mask)
    assert (folder.path / "A.csv").is_symlink()


def test_explain_prints_sentences_and_figures(folder: Folder) -> None:
    status, out, _ = folder.run("--explain", "d4", "--explain", "d1")
    assert status == 0
    assert "d4: 80.50 MB, 1 SMS, billed for 30 days" in out
    assert "It moves from pooled 100 to pooled 200." in out
    assert out.index("d4: 80.50 MB") < out.index("d1: 0.40 MB")
    row = next(line for line in out.splitlines() if line.strip().startswith("large") and "│" in line)
    assert "19.50" in row  # 4 and 31 blocks of 0.50 for 30.5 MB above 50 MB


def test_on_a_terminal_a_table_is_printed_and_no_output_of_the_solver(folder: Folder) -> None:
    main, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "amop.cli", *folder.arguments()],
        stdout=terminal,
        stderr=terminal,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    out = os.read(main, 100_000).decode()
    os.close(main)
    assert done.returncode == 0
    assert all(text in out for text in ("total cost", "23.100002", "no assignment costs less", "reading"))
    assert "HiGHS" not in out


def test_on_a_pipe_only_one_line_per_figure_is_printed(folder: Folder) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "amop.cli", *folder.arguments()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
    )
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(folder.summary())


def test_a_cap_on_changes_holds_and_the_bound_still_covers_every_assignment(folder: Folder) -> None:
    write_csv(make_instance("default", 1500), folder.path)
    assert folder.run("--time-limit", "0")[0] == 0
    free = folder.summary()
    assert folder.run("--time-limit", "0", "--max-changes", "100")[0] == 0
    capped = folder.summary()
    assert (capped["voluntary_changes"], capped["changes"]) == (100, 100)
    assert Decimal(str(capped["lower_bound"])) <= Decimal(str(free["total_cost"]))
    assert Decimal(str(free["total_cost"])) < Decimal(str(capped["total_cost"])) < Decimal(str(capped["current_cost"]))
    assert Decimal(str(capped["objective_bound"])) <= Decimal(str(capped["objective"]))


def test_the_example_of_the_documentation_gives_its_output(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "optimize.md").read_text(encoding="utf-8")
    script = text.split("```bash\n")[1].split("```")[0]
    for name in ("answer.csv", "summary.json"):
        script = script.replace(f" {name}", f" {tmp_path / name}")
    expected = text.split("```text\n")[1].split("```")[0].splitlines()
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, cwd=ROOT)
    figures, explanation = done.stdout.split("\n\n", 1)
    assert [line for line in figures.splitlines() if not line.startswith("seconds ")] == expected
    assert "8901170000231513264: 0.00 MB, 13 SMS, billed for 30 days" in explanation
    assert len((tmp_path / "answer.csv").read_text().splitlines()) == 201
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "optimal"
