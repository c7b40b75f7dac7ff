"""What `make up` puts into the operators' page."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from amop.web.views import VIEWS
from amop.what_if.plan_table import read_plan_table
from sandbox.carrier.catalogue import provider_of
from sandbox.demo.first_look import cheaper_pooled_plans
from sandbox.demo.page_views import VIEWS as COUNTED
from sandbox.demo.third_party import OTHER_EQUIPMENT, UNKNOWN_STATUS, changes_of


def sim(iccid: str, rate_plan: str, *, communication_plan: str = "A", status: str = "ACTIVATED") -> dict[str, Any]:
    """Return a SIM as the sandbox carrier shows it."""
    return {"iccid": iccid, "rate_plan": rate_plan, "communication_plan": communication_plan, "status": status}


def test_the_rows_of_every_list_of_the_page_are_counted() -> None:
    lists = {path for path in VIEWS if "{" not in path}
    assert {f"/{address.partition('?')[0]}" for address in COUNTED.values()} == lists


def test_the_what_if_offers_every_present_plan_and_the_pooled_ones_for_four_fifths() -> None:
    plans = provider_of("jasper").rate_plans
    lines = {line.rate_plan_code: line for line in read_plan_table(cheaper_pooled_plans(plans))}
    assert {plan.rate_plan_code: lines[plan.rate_plan_code].rate_charge / plan.rate_charge for plan in plans} == {
        plan.rate_plan_code: Decimal("0.8") if plan.allows_sim_pooling else Decimal(1) for plan in plans
    }


def test_another_party_changes_three_activated_sims_one_of_them_to_a_plan_that_it_may_not_have() -> None:
    sims = [
        sim("1", "small", status="RETIRED"),
        sim("2", "small"),
        sim("3", "small"),
        sim("4", "large", communication_plan="B"),
        sim("5", "medium"),
    ]
    assert changes_of(sims, with_details=["1", "3", "2"]) == {
        "3": {"imei": OTHER_EQUIPMENT},
        "2": {"rate_plan": "large"},
        "5": {"extra": {"status": UNKNOWN_STATUS}},
    }


@pytest.mark.parametrize("with_details", [[], ["0"]])
def test_a_fleet_on_one_plan_or_without_details_is_not_changed(with_details: list[str]) -> None:
    with pytest.raises(ValueError, match="too few activated SIMs"):
        changes_of([sim(str(number), "small") for number in range(5)], with_details=with_details)
