"""Go or no go, ask or not, and what a SIM's present plan at the carrier means: pure rules, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.domain.approval_request import approval_body, approval_subject
from amop.domain.plan_changes import (
    calls_needed,
    describe_span,
    judge_present_plan,
    latest_start,
    reason_to_ask,
    refusal_by_settings,
    refusal_by_time,
    time_needed,
)

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
        "no go: 1000 changes take 7 min at 5 calls a second, plus 10 min, but the billing period ends in 90 s"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, None),
        ({"apply_changes": "never"}, "apply_changes = never"),
        ({"write_is_enabled": False}, "write_is_enabled is off"),
        ({"can_auto_update_rate_plans": False}, "can_auto_update_rate_plans is off"),
    ],
)
def test_settings_and_the_run_must_all_allow_it(settings: dict[str, Any], reason: str | None) -> None:
    allowed = {"apply_changes": "provider_setting", "write_is_enabled": True, "can_auto_update_rate_plans": True}
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
def test_a_person_is_asked_above_the_count_or_above_the_money_moved(
    changes: int, amount: str, above_changes: int | None, above_amount: str | None, is_asked: bool
) -> None:
    reason = reason_to_ask(
        changes=changes,
        amount=Decimal(amount),
        approval_above_changes=above_changes,
        approval_above_amount=None if above_amount is None else Decimal(above_amount),
    )
    assert (reason is not None) == is_asked


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
        ({"status": "ACTIVATED"}, None, False, "is not about rate plan and SIM"),
        ({"ratePlan": "A", "iccid": "8901170000000000002"}, "A", False, "is not about rate plan and SIM"),
    ],
)
def test_only_a_sim_on_its_present_plan_is_changed(
    details: dict[str, Any], from_plan: str | None, is_done: bool, conflict: str | None
) -> None:
    found = judge_present_plan({"iccid": ICCID} | details, iccid=ICCID, from_rate_plan=from_plan, to_rate_plan="B")
    assert found[0] == is_done
    assert (found[1] is None) if conflict is None else (conflict in str(found[1]))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (9000, "2 h 30 min")])
def test_a_length_of_time_is_told_in_the_unit_that_fits(seconds: int, text: str) -> None:
    assert describe_span(timedelta(seconds=seconds)) == text


FACTS: dict[str, Any] = {
    "service_provider_name": "AT&T <b>", "service_provider_id": 1, "changes": 1200, "savings": Decimal("251"),
    "amount": Decimal("300"), "current_cost": Decimal("1000"), "time_zone": "America/New_York", "instance_id": 12,
    "cycle_start": END - timedelta(days=31), "cycle_end": END, "changes_deadline": END - timedelta(minutes=20),
}  # fmt: skip


def move(source: str | None, target: str, changes: int, now: str, then: str) -> dict[str, Any]:
    return {
        "from_rate_plan": source, "to_rate_plan": target, "changes": changes, "from_cost": Decimal(now),
        "to_cost": Decimal(then),
    }  # fmt: skip


def test_the_question_shows_what_changes_and_what_it_saves() -> None:
    moves = [move("10 MB", "1 MB", 900, "500", "300"), move(None, "5 | MB", 300, "100.5", "50")]
    body = approval_body(FACTS, moves, needed=timedelta(seconds=490), why="1200 changes are more than 500")
    assert approval_subject(FACTS) == "AT&T <b>: apply 1,200 rate plan changes that save 251.00?"
    assert "| saved by the changes | 251.00 (25.1%) |" in body
    assert "| answer before | 2026-11-18 17:40 EST |" in body
    assert "| 10 MB | 1 MB | 900 | 500.00 | 300.00 | 200.00 |" in body
    assert r"| \(none\) | 5 \| MB | 300 | 100.50 | 50.00 | 50.50 |" in body
    assert r"AT\&T \<b\>" in body and "<b>" not in body


def test_a_question_about_many_plans_stays_short_and_its_table_still_adds_up() -> None:
    moves = [move(f"P{number}", "Q", 1, "2", "1") for number in range(1000)]
    body = approval_body(FACTS, moves, needed=timedelta(0), why="many")
    assert len(body) < 4000
    assert "| 975 other moves |  | 975 | 1,950.00 | 975.00 | 975.00 |" in body
