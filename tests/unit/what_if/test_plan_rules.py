"""What the form of a what-if refuses: the rules of its run, said by field."""

from __future__ import annotations

from decimal import Decimal

import pytest

from amop.what_if.plan_rules import OfferedPlan, form_faults

HEAD = "rate_plan_code,rate_charge,base_rate,plan_mb,overage_rate,data_per_overage_charge,sms_rate,allows_sim_pooling"
HEAD += ",pool,offered_like"
SMALL = "Small,1,0,10,0.5,1,0,false,,"
FLEET = OfferedPlan("Fleet 5", True, "Fleet", Decimal("0.5"), Decimal(1))
OFFERED = [OfferedPlan("Small", False, None, Decimal("0.5"), Decimal(1)), FLEET]
KNOWN = {"Small", "Fleet 5", "Elsewhere"}


def faults(*lines: str, size: str = "") -> dict[str, str]:
    return form_faults("\n".join([HEAD, *lines]), size, known=KNOWN, offered=OFFERED)


def test_a_form_without_a_typo_has_no_fault() -> None:
    new = "New,1,0,10,0.5,1,0,true,Fleet,Small"
    assert faults(SMALL, new) == faults(SMALL, new, size=" 1 ") == {}


@pytest.mark.parametrize(
    ("lines", "size", "field", "words"),
    [
        (("Small,1,0,10,O.5,1,0,false,,",), "", "rate_plans", "line 2: overage_rate 'O.5' is not a number"),
        ((SMALL, "New,1,0,10,1,1,0,false,,Smal"), "", "rate_plans", "'New' is offered like 'Smal', which no SIM may"),
        ((SMALL, "New,1,0,10,1,1,0,false,,Elsewhere"), "", "rate_plans", "offered like 'Elsewhere', which no SIM may"),
        ((SMALL, "New,1,0,10,0.7,1,0,true,Fleet,"), "", "rate_plans", "pool 'Fleet': its rate plans 'Fleet 5' and"),
        ((SMALL, "Fleet 5,1,0,9,3,1,0,true,Fleet,", "N,1,0,9,0.5,1,0,true,Fleet,"), "", "rate_plans", "pool 'Fleet'"),
        ((SMALL,), "1", "ladder_size", "the table has 0 new rate plans, fewer than 1 to choose"),
        ((SMALL,), "two", "ladder_size", "'two' is not a whole number from 1 to 50"),
        ((SMALL,), "0", "ladder_size", "'0' is not a whole number"),
        ((SMALL,), "51", "ladder_size", "'51' is not a whole number"),
        ((SMALL,), "\u00b2", "ladder_size", "is not a whole number"),
        (tuple(f"N{n},1,0,10,1,1,0,false,," for n in range(100)), "50", "ladder_size", "50 of 100 new rate plans are"),
    ],
)  # fmt: skip
def test_a_typo_is_said_beside_its_field(lines: tuple[str, ...], size: str, field: str, words: str) -> None:
    found = faults(*lines, size=size)
    assert list(found) == [field]
    assert words in found[field]


def test_both_fields_are_said_at_once() -> None:
    assert set(faults("x", size="x")) == {"rate_plans", "ladder_size"}
