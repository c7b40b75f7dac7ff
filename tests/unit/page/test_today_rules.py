"""What a provider needs, the most urgent first, and the sentence on top."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.page.store.today import ProviderRow
from amop.page.today import Need, ProviderToday, headline, judge

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REFUSED = "the carrier refused API user 'a' or its key (401)."
NUMBERS = {"run_warnings", "quarantined", "pending_messages", "dead_messages"}


def provider(name: str = "Jasper", **values: Any) -> ProviderRow:
    """Return a provider that was synced this night and needs nothing, apart from what is given."""
    nothing: dict[str, Any] = {field.name: 0 if field.name in NUMBERS else None for field in fields(ProviderRow)}
    usual = {
        "id": 1,
        "name": name,
        "currency": "USD",
        "integration": "jasper",
        "synced_at": NOW - timedelta(hours=8),
        "run_status": "complete",
        "run_dag_id": "device_sync_jasper",
        "run_dag_run_id": "scheduled__2026-11-24T04:00:00+00:00",
    }
    return ProviderRow(**(nothing | usual | values))


def judged(**values: Any) -> ProviderToday:
    return judge(provider(**values), NOW)


@pytest.mark.parametrize(
    ("values", "need", "address"),
    [
        ({}, Need.FINE, None),
        (
            {"run_status": "refused", "run_error": "no", "approval_session_id": 7},
            Need.FAILED,
            "dags/device_sync_jasper/runs/scheduled__2026-11-24T04%3A00%3A00%2B00%3A00",
        ),
        (
            {"session_id": 7, "session_status": "failed", "session_error": "no"},
            Need.FAILED,
            "session/7",
        ),
        (
            {"session_id": 7, "session_status": "running", "session_heartbeat_at": NOW - timedelta(hours=1)},
            Need.FAILED,
            "session/7",
        ),
        (
            {"session_id": 7, "session_status": "running", "session_heartbeat_at": NOW - timedelta(minutes=2)},
            Need.FINE,
            None,
        ),
        ({"session_id": 7, "approval_session_id": 7}, Need.APPROVAL, "session/7#approval"),
        (
            {
                "session_id": 8,
                "session_status": "running",
                "session_heartbeat_at": NOW - timedelta(minutes=2),
                "approval_session_id": 7,
            },
            Need.APPROVAL,
            "session/7#approval",
        ),
        ({"synced_at": NOW - timedelta(days=2)}, Need.LATE, "dags/device_sync_jasper"),
        ({"synced_at": NOW - timedelta(days=2), "run_status": "running"}, Need.FINE, None),
        ({"dead_messages": 2, "quarantined": 3}, Need.MESSAGES, "outbox?state=dead"),
        ({"quarantined": 3, "run_warnings": 1}, Need.QUARANTINE, "quarantine"),
        (
            {"run_warnings": 1},
            Need.WARNING,
            "dags/device_sync_jasper/runs/scheduled__2026-11-24T04%3A00%3A00%2B00%3A00",
        ),
    ],
)
def test_the_most_urgent_need_and_its_address(values: dict[str, Any], need: Need, address: str | None) -> None:
    row = judged(**values)
    assert row.need == need
    assert (row.next_step.address if row.next_step else None) == address


def test_the_sentence_on_top_names_the_most_urgent_provider_and_counts_the_others() -> None:
    fine = judge(provider("A"), NOW)
    warned = judge(provider("B", quarantined=1), NOW)
    late = judge(provider("C", synced_at=NOW - timedelta(days=2)), NOW)
    failed = judge(
        provider("D", run_status="failed", run_ended_at=NOW - timedelta(hours=7), run_error=REFUSED),
        NOW,
    )
    assert headline([]) == "No provider is active yet."
    assert headline([fine]) == "A is fine."
    assert headline([fine, warned]) == "All 2 providers are fine."
    assert headline([fine, late]) == (
        "1 of 2 providers is fine. C: the last complete sync is 2 days old. "
        "Next: trigger device_sync_jasper and see that it is not paused."
    )
    assert headline([fine, warned, late, failed]) == (
        "2 of 4 providers are fine. D: the sync failed at 2026-11-24 05:00 UTC: the carrier refused API user 'a' or "
        "its key (401). Next: correct login and password of the connection that the error names, then clear the failed "
        "task of this provider with its downstream tasks. 1 more needs attention."
    )


def test_a_failure_does_not_hide_an_open_approval() -> None:
    row = judged(
        session_id=8,
        session_status="failed",
        session_error="no proof",
        approval_session_id=7,
        approval_changes=12,
        approval_savings=Decimal("3.5"),
    )
    assert row.reason == (
        "session 8 failed: no proof. Session 7 waits: an approval is needed for 12 plan changes, saving USD 3.50"
    )


def test_a_long_error_is_shortened() -> None:
    row = judged(run_status="failed", run_error="x " * 1000)
    assert len(row.reason) < 300


def test_usage_is_a_multiple_of_the_usual_one_scaled_to_the_elapsed_time() -> None:
    cycle: dict[str, Any] = {
        "cycle_start": NOW - timedelta(days=10),
        "cycle_end": NOW + timedelta(days=20),
        "usage_as_of": NOW,
        "sync_is_of_period": True,
        "data_usage": Decimal(330),
        "usual_usage": Decimal(200),
    }
    row = judged(**cycle, usual_elapsed=timedelta(days=8))
    assert row.usage_ratio == Decimal(330) / Decimal(250)
    assert not row.has_unusual_usage
    assert judged(**cycle, usual_elapsed=timedelta(days=20)).has_unusual_usage
    assert judged(**(cycle | {"sync_is_of_period": False}), usual_elapsed=timedelta(days=8)).usage_ratio is None
    assert judged(**(cycle | {"usual_usage": Decimal(0)}), usual_elapsed=timedelta(days=8)).usage_ratio is None
    assert row.days_left == 20
