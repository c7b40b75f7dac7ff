"""The bodies of the callbacks, held against what the sandbox AMOP takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop.config import INTEGRATIONS
from amop.messages.bodies import (
    MAXIMUM_ERROR_LENGTH,
    SessionFacts,
    daily_sync_notice,
    error_message,
    error_text,
    progress_message,
)
from amop.runs.progress import PROGRESS_STEPS, steps_between
from sandbox.amop.message_checks import daily_sync_errors, order_errors, progress_errors

FACTS = SessionFacts(
    session_id=2365,
    session_guid="550e8400-e29b-41d4-a716-446655440000",
    service_provider_id=1,
    tenant_id=4,
    billing_period_id=7,
    cycle_start=datetime(2026, 10, 18, 22, tzinfo=UTC),
    cycle_end=datetime(2026, 11, 18, 23, tzinfo=UTC),
    device_count=1200,
)


def additional(body: dict[str, Any]) -> dict[str, Any]:
    """Return what stands inside the JSON string of a message."""
    return dict(json.loads(body["data"]["AdditionalJson"])["data"])


def test_a_progress_message_is_exactly_what_amop_expects() -> None:
    body = progress_message(FACTS, 30)
    assert additional(body) == {
        "BillPeriodId": 7,
        "SiteId": 0,
        "ServiceProviderId": 1,
        "OptimizationType": 0,
        "OptimizationFrom": "group",
        "BillingPeriodStartDate": "2026-10-18T22:00:00+00:00",
        "BillingPeriodEndDate": "2026-11-18T23:00:00+00:00",
        "DeviceCount": 1200,
        "TenantId": 4,
    }
    assert {key: value for key, value in body["data"].items() if key != "AdditionalJson"} == {
        "path": "/get_optimization_progress_bar_data",
        "job_name": "Progress",
        "SessionId": "2365",
        "OptimizationSessionGuid": "550e8400-e29b-41d4-a716-446655440000",
        "ErrorMessage": None,
        "Progress": 30,
        "CustomerId": "",
        "DeviceCount": 1200,
    }


def test_an_error_message_carries_the_guid_the_text_and_no_progress() -> None:
    data = error_message(FACTS, "the carrier refused the API key")["data"]
    assert data["path"] == "/get_optimization_error_details_data"
    assert (data["job_name"], data["Progress"]) == ("ErrorMessage", 0)
    assert data["ErrorMessage"] == "the carrier refused the API key"
    assert data["OptimizationSessionGuid"] == FACTS.session_guid


def test_all_messages_of_a_session_pass_amops_checks_of_shape_and_order() -> None:
    bodies = [progress_message(FACTS, step) for step in PROGRESS_STEPS]
    bodies.append(error_message(FACTS, "no devices"))
    assert [progress_errors(body) for body in bodies] == [[]] * 7
    assert order_errors([body["data"] for body in bodies]) == []


@pytest.mark.parametrize("integration", sorted(INTEGRATIONS))
def test_the_daily_notice_of_every_integration_passes_amops_check(integration: str) -> None:
    key_name = INTEGRATIONS[integration].daily_sync_key
    body = daily_sync_notice(key_name, 1, "Acme IoT")
    assert body == {"data": {"key_name": key_name, "tenant_id": "1", "tenant_name": "Acme IoT"}}
    assert daily_sync_errors(body) == []


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_becomes_an_error_that_amop_takes(text: str) -> None:
    body = error_message(FACTS, text)
    assert progress_errors(json.loads(json.dumps(body).encode("utf-8"))) == []
    assert "\x00" not in body["data"]["ErrorMessage"]


def test_a_long_error_is_cut_and_an_empty_one_points_to_the_log() -> None:
    assert error_text("x" * MAXIMUM_ERROR_LENGTH) == "x" * 2000
    assert error_text("x" * 5000) == "x" * 1999 + "…"
    assert "see the log" in error_text(" \x00\n")


def test_steps_between_are_the_missing_ones_in_order() -> None:
    assert steps_between(0, 40) == (20, 30, 40)
    assert steps_between(50, 100) == (100,)
    assert steps_between(40, 40) == ()
    assert steps_between(40, 20) == ()
    with pytest.raises(ValueError, match="progress is 35, not one of"):
        steps_between(0, 35)
