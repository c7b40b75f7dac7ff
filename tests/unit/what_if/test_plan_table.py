"""The table of rate plans of a what-if: read, written, and refused with line, column and value."""

from __future__ import annotations

from decimal import Decimal

import pytest

from amop.what_if.plan_table import MOST_PLANS, PlanLine, PlanTableError, read_plan_table, write_plan_table

HEAD = "rate_plan_code,rate_charge,base_rate,plan_mb,overage_rate,data_per_overage_charge,sms_rate,allows_sim_pooling"
LINES = [
    PlanLine("A, small", Decimal("1.5"), Decimal(0), Decimal(10), Decimal("0.5"), Decimal(1), Decimal(0), False, None),
    PlanLine("B", Decimal(100), Decimal(1), Decimal(20), Decimal(3), Decimal(5), Decimal("0.01"), True, "Fleet", "A"),
]


def test_a_table_that_was_written_is_read_as_it_was() -> None:
    text = write_plan_table(LINES)
    assert read_plan_table(text) == LINES
    assert text.splitlines()[1] == '"A, small",1.5,0,10,0.5,1,0,false,,'


def test_a_table_of_the_command_line_is_read() -> None:
    (line,) = read_plan_table(f"\ufeff{HEAD}\r\nA, 1 ,0,10,0.5,1,0,TRUE\r\n\r\n")
    assert (line.rate_plan_code, line.rate_charge, line.allows_sim_pooling, line.pool) == ("A", Decimal(1), True, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks rate_plan_code"),
        (HEAD, "no rate plan"),
        (f"{HEAD},price\nA", "unknown price"),
        (f"{HEAD}\nA,x,0,10,1,1,0,no", "line 2: rate_charge 'x' is not a number"),
        (f"{HEAD}\nA,-1,0,10,1,1,0,no", "line 2: rate_charge '-1'"),
        (f"{HEAD}\nA,NaN,0,10,1,1,0,no", "line 2: rate_charge 'NaN'"),
        (f"{HEAD}\nA,1e30,0,10,1,1,0,no", "line 2: rate_charge '1e30' must be below 10,000,000,000"),
        (
            f"{HEAD}\nA,99999999999999,0,10,1,1,0,no",
            "line 2: rate_charge '99999999999999' must be below 10,000,000,000",
        ),
        (f"{HEAD}\nA,0.0000001,0,10,1,1,0,no", "at most 6 decimals"),
        (f"{HEAD}\nA,1,0,10,0,1,0,no", "line 2: overage_rate must be above 0"),
        (f"{HEAD}\nA,1,0,10,1,0,0,no", "line 2: data_per_overage_charge must be above 0"),
        (f"{HEAD}\nA,1,0,10,1,1,0,perhaps", "allows_sim_pooling 'perhaps'"),
        (f"{HEAD}\n,1,0,10,1,1,0,no", "rate_plan_code '' is empty"),
        (f"{HEAD}\nA,1,0,10,1,1,0,no,more", "line 2: it has more cells"),
        (f"{HEAD}\nA,1,0,10,1,1,0,no\nA,1,0,10,1,1,0,no", "line 3: rate plan 'A' is there twice"),
        ("x" * 100_001, "longer than 100,000 characters"),
    ],
)
def test_a_table_that_is_not_valid_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(PlanTableError) as refusal:
        read_plan_table(text)
    assert words in str(refusal.value)


def test_a_table_has_a_limited_number_of_plans() -> None:
    lines = "\n".join(f"P{number},1,0,10,1,1,0,no" for number in range(MOST_PLANS + 1))
    with pytest.raises(PlanTableError, match="more than 200"):
        read_plan_table(f"{HEAD}\n{lines}")
