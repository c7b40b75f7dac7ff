"""`amop optimize`: its messages about invalid files and options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worlds.optimize_folder import DEVICES, ELIGIBILITY, RATE_PLANS, Folder

ROOT = Path(__file__).resolve().parents[3]

SOME_PLAN = ",1,0,1,1,1,0,false,\n"


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
    assert err.endswith("1 problem; nothing was written\n")
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
    assert lines[20:] == ["… and 11,981 more", "12,001 problems; nothing was written"]


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
