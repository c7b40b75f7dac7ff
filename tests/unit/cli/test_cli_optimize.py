"""`amop optimize`: its outputs and what it prints."""

from __future__ import annotations

import json
import os
import pty
import random
import subprocess
import sys
import threading
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


def test_an_output_that_is_no_file_is_written_to_and_stays_what_it_is(folder: Folder) -> None:
    os.mkfifo(folder.path / "A.csv")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((folder.path / "A.csv").read_text()), daemon=True)
    reader.start()
    assert folder.run()[0] == 0
    reader.join(timeout=30)
    assert (folder.path / "A.csv").is_fifo()
    assert read[0].startswith("device_id,rate_plan_code\nd1,")


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
