"""Rules of plan changes, case by case: go or no go, approval, and a SIM's present plan at the carrier."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.plan_changes.approval_request import approval_body, approval_subject
from amop.plan_changes.rules import (
    calls_needed,
    check_present_plan,
    describe_span,
    latest_start,
    reason_to_request_approval,
    refusal_by_limits,
    refusal_by_settings,
    refusal_by_time,
    time_needed,
)
from amop.plan_changes.store.decisions import InstanceChanges, Move
from amop.wording import money

END = datetime(2026, 11, 18, 23, 0, tzinfo=UTC)
ICCID = "8901170000000000001"


@pytest.mark.parametrize(("changes", "calls"), [(0, 0), (1, 3), (50, 150), (51, 152), (1000, 2050), (100_000, 200_050)])
def test_each_change_takes_a_read_and_a_write_and_the_sample_one_more_read(changes: int, calls: int) -> None:
    assert calls_needed(changes) == calls


@pytest.mark.parametrize(
    ("changes", "pace", "seconds"), [(1, 5.0, 1), (50, 5.0, 30), (1000, 5.0, 410), (1000, 0.5, 4100), (3, 2.5, 4)]
)
def test_time_is_calls_by_the_accounts_pace_rounded_up(changes: int, pace: float, seconds: int) -> None:
    assert time_needed(changes, pace) == timedelta(seconds=seconds)


def test_a_hundred_thousand_changes_must_begin_eleven_hours_before_the_end() -> None:
    # 200,050 calls at 5 a second are 40,010 s; ten minutes more are kept.
    assert latest_start(END, 100_000, 5.0) == END - timedelta(seconds=40_010 + 600)


@pytest.mark.parametrize(
    ("left", "is_refused"),
    [
        (timedelta(days=3), False),
        (timedelta(seconds=1010), False),
        (timedelta(seconds=1009), True),
        (timedelta(0), True),
        (timedelta(days=-30), True),
    ],
)
def test_go_needs_time_for_all_changes_and_ten_minutes(left: timedelta, is_refused: bool) -> None:
    # 1,000 changes at 5 calls a second take 410 s, and 600 s are kept.
    refusal = refusal_by_time(cycle_end=END, changes=1000, calls_per_second=5.0, now=END - left)
    assert (refusal is not None) == is_refused


def test_no_go_says_how_long_it_takes_and_how_much_time_is_left() -> None:
    refusal = refusal_by_time(cycle_end=END, changes=1000, calls_per_second=5.0, now=END - timedelta(seconds=90))
    assert refusal == (
        "no go: 1,000 changes take 7 min at 5 calls a second, plus 10 min, but the billing period ends in 90 s"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, None),
        ({"apply_changes": "never"}, "apply_changes = never"),
        ({"is_active": False}, "is_active is off: the provider is switched off"),
        ({"write_is_enabled": False}, "write_is_enabled is off"),
        ({"can_auto_update_rate_plans": False}, "can_auto_update_rate_plans is off"),
    ],
)
def test_settings_and_the_run_must_all_allow_it(settings: dict[str, Any], reason: str | None) -> None:
    allowed: dict[str, Any] = {"apply_changes": "provider_setting"}
    allowed |= dict.fromkeys(("is_active", "write_is_enabled", "can_auto_update_rate_plans"), True)
    refusal = refusal_by_settings(**(allowed | settings))
    assert refusal is None if reason is None else reason in str(refusal)


@pytest.mark.parametrize(
    ("changes", "amount", "above_changes", "above_amount", "is_asked"),
    [
        (500, "1", 500, None, False),
        (501, "1", 500, None, True),
        (1, "0", 0, None, True),
        (9999, "99999", None, None, False),
        (1, "100.00", 500, "100", False),
        (1, "100.01", 500, "100", True),
        (1, "0.01", None, "0", True),
        (501, "0", None, "0", False),
    ],
)
def test_approval_is_requested_above_the_number_or_above_the_amount(
    changes: int, amount: str, above_changes: int | None, above_amount: str | None, is_asked: bool
) -> None:
    reason = reason_to_request_approval(
        warnings=0,
        changes=changes,
        waiting_changes=0,
        amount=Decimal(amount),
        waiting_amount=Decimal(0),
        approval_above_changes=above_changes,
        approval_above_amount=None if above_amount is None else Decimal(above_amount),
        currency="USD",
    )
    assert (reason is not None) == is_asked


def test_one_change_that_is_built_on_an_implausible_answer_needs_approval_whatever_the_limits_are() -> None:
    reason = reason_to_request_approval(
        warnings=2,
        changes=1,
        waiting_changes=0,
        amount=Decimal(0),
        waiting_amount=Decimal(0),
        approval_above_changes=None,
        approval_above_amount=None,
        currency="USD",
    )
    assert reason is not None and reason.endswith("2 warnings of the device sync")


@pytest.mark.parametrize(
    ("details", "from_plan", "is_done", "conflict"),
    [
        ({"ratePlan": "A", "status": "ACTIVATED"}, "A", False, None),
        ({"ratePlan": "B", "status": "ACTIVATED"}, "A", True, None),
        ({"ratePlan": "C", "status": "ACTIVATED"}, "A", False, "'C', neither the present one of the proposal ('A')"),
        ({"ratePlan": None, "status": "ACTIVATED"}, "A", False, "rate plan None, neither"),
        ({"ratePlan": None, "status": "ACTIVATED"}, None, False, None),
        ({"ratePlan": "", "status": "ACTIVATED"}, None, False, None),
        ({"ratePlan": "A", "status": "DEACTIVATED"}, "A", False, None),
        ({"ratePlan": "A", "status": "RETIRED"}, "A", False, "is RETIRED"),
        ({"ratePlan": "A", "status": "Purged"}, "A", False, "is PURGED"),
        ({"ratePlan": "B", "status": "RETIRED"}, "A", False, "is RETIRED"),
        ({"status": "ACTIVATED"}, None, False, "does not name SIM"),
        ({"ratePlan": "A", "iccid": "8901170000000000002"}, "A", False, "does not name SIM"),
    ],
)
def test_only_a_sim_on_its_present_plan_is_changed(
    details: dict[str, Any], from_plan: str | None, is_done: bool, conflict: str | None
) -> None:
    found = check_present_plan({"iccid": ICCID} | details, iccid=ICCID, from_rate_plan=from_plan, to_rate_plan="B")
    assert found[0] == is_done
    assert (found[1] is None) if conflict is None else (conflict in str(found[1]))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (9000, "2 h 30 min")])
def test_a_length_of_time_has_the_unit_that_fits(seconds: int, text: str) -> None:
    assert describe_span(timedelta(seconds=seconds)) == text


CHANGES = InstanceChanges(
    instance_id=12,
    session_id=3,
    run_status="complete_with_success",
    apply_changes="provider_setting",
    current_cost=Decimal("1000"),
    savings=Decimal("251"),
    change_cap=None,
    uncapped_changes=None,
    uncapped_saving=None,
    changes_status="waiting",
    changes_reason="1200 changes are more than 500",
    changes_deadline=END - timedelta(minutes=20),
    service_provider_id=1,
    service_provider_name="AT&T <b>",
    connection_id="carrier_jasper",
    integration="jasper",
    currency="USD",
    time_zone="America/New_York",
    is_active=True,
    write_is_enabled=True,
    can_auto_update_rate_plans=True,
    approval_above_changes=500,
    approval_above_amount=None,
    upgrade_effect="whole_cycle",
    downgrade_effect="whole_cycle",
    cycle_start=END - timedelta(days=31),
    cycle_end=END,
    newer_instance_id=None,
    change_count=1200,
    amount=Decimal("300"),
    waiting_count=0,
    waiting_amount=Decimal(0),
    waits_reason=None,
)


def move(source: str | None, target: str, changes: int, now: str, then: str) -> Move:
    return Move(source, target, changes, Decimal(now), Decimal(then))


def test_the_approval_request_shows_the_changes_and_their_savings() -> None:
    moves = [move("10 MB", "1 MB", 900, "500", "300"), move(None, "5 | MB", 300, "100.5", "50")]
    body = approval_body(CHANGES, moves, [], needed=timedelta(seconds=490))
    assert approval_subject(CHANGES) == "AT&T <b>: apply 1,200 rate plan changes that save USD 251.00?"
    assert "Approval is required: 1200 changes are more than 500." in body
    assert "| saved by the changes | USD 251.00 (25.1%) |" in body
    assert "| answer before | 2026-11-18 17:40 EST |" in body
    assert "| 10 MB | 1 MB | 900 | USD 500.00 | USD 300.00 | USD 200.00 |" in body
    assert r"| \(none\) | 5 \| MB | 300 | USD 100.50 | USD 50.00 | USD 50.50 |" in body
    assert r"AT\&T \<b\>" in body and "<b>" not in body


def test_the_approval_request_rounds_an_amount_as_the_page_does() -> None:
    changes = replace(CHANGES, savings=Decimal("9.745"), change_count=1, currency="CAD")
    body = approval_body(changes, [move("A", "B", 1, "20", "10.255")], [], needed=timedelta(0))
    assert money(changes.savings, changes.currency) == "CAD 9.75"
    assert approval_subject(changes) == "AT&T <b>: apply 1 rate plan change that saves CAD 9.75?"
    assert "| saved by the changes | CAD 9.75 (1.0%) |" in body
    assert "| A | B | 1 | CAD 20.00 | CAD 10.26 | CAD 9.75 |" in body


def test_an_approval_request_for_many_plans_stays_short_and_its_table_adds_up() -> None:
    moves = [move(f"P{number}", "Q", 1, "2", "1") for number in range(1000)]
    body = approval_body(CHANGES, moves, [], needed=timedelta(0))
    assert len(body) < 4000
    assert "| 975 other moves |  | 975 | USD 1,950.00 | USD 975.00 | USD 975.00 |" in body


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, None),
        ({"effect": "from_change", "change_count": 9, "last_changed_at": END}, None),
        ({"effect": "next_cycle"}, "next billing period only"),
        ({"maximum_changes_per_sim": 2, "change_count": 1}, None),
        ({"maximum_changes_per_sim": 2, "change_count": 2}, "has changed 2 times in this billing period"),
        ({"maximum_changes_per_month": 4, "month_change_count": 3, "change_count": 9}, None),
        (
            {"maximum_changes_per_month": 4, "month_change_count": 4},
            "has changed 4 times this month, and the carrier accepts 4 plan changes of a SIM in a month",
        ),
        ({"minimum_days_on_plan": 3}, None),
        ({"minimum_days_on_plan": 3, "last_changed_at": END - timedelta(days=3)}, None),
        ({"minimum_days_on_plan": 3, "last_changed_at": END - timedelta(days=3, seconds=-1)}, "= 3 days ago"),
    ],
)
def test_the_limits_of_a_sim_refuse_its_change_with_the_reason(limits: dict[str, Any], reason: str | None) -> None:
    of_sim: dict[str, Any] = {
        "change_count": 0, "month_change_count": 0, "last_changed_at": None, "effect": "whole_cycle",
    }  # fmt: skip
    settings: dict[str, Any] = {
        "maximum_changes_per_sim": None, "maximum_changes_per_month": None, "minimum_days_on_plan": 0,
    }  # fmt: skip
    refusal = refusal_by_limits(**of_sim | settings | limits, now=END)
    assert refusal is None if reason is None else reason in (refusal or "")
