"""What a provider needs, the most urgent first, and the sentence on top."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.page.headline import headline
from amop.page.needs import Need, ProviderToday, judge, unsent_action
from amop.page.store.today import ProviderRow

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REFUSED = "the carrier refused the login of connection c (401)."
NUMBERS = {"run_warnings", "pools_over", "quarantined", "pending_messages", "dead_messages"}


UNSENT: dict[str, Any] = {
    "unsent_session_id": 7,
    "unsent_is_stopped": True,
    "unsent_is_deleted": False,
    "unsent_is_lost": False,
    "unsent_changes": 3,
    "unsent_since": NOW - timedelta(hours=1),
    "unsent_reason": "AT&T: the carrier refused the login of connection c (401)",
}
"""Approved plan changes that were not all sent."""


def provider(name: str = "Jasper", **values: Any) -> ProviderRow:
    """Return a provider that was synced this night and needs nothing, apart from what is given."""
    nothing: dict[str, Any] = {field.name: 0 if field.name in NUMBERS else None for field in fields(ProviderRow)}
    nothing |= {"run_is_deleted": False, "session_is_deleted": False, "session_sync_is_redone": False}
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
        ({"synced_at": None, "run_status": "running"}, Need.STARTING, None),
        ({"synced_at": None, "run_status": None}, Need.LATE, "dags/device_sync_jasper"),
        (
            {"synced_at": None, "run_status": None, "integration": "thingspace"},
            Need.LATE,
            "dags/device_sync_thingspace",
        ),
        ({"synced_at": None, "run_status": None, "integration": "pond"}, Need.EXTERNAL, None),
        ({"integration": "pond", "quarantined": 1}, Need.QUARANTINE, "quarantine"),
        (UNSENT, Need.STOPPED, "session/7/changes?state=approved"),
        (
            UNSENT | {"unsent_is_stopped": False, "unsent_since": NOW - timedelta(minutes=50)},
            Need.STOPPED,
            "session/7/changes?state=approved",
        ),
        (UNSENT | {"unsent_is_stopped": False, "unsent_since": NOW - timedelta(minutes=40)}, Need.FINE, None),
        (
            UNSENT | {"run_status": "failed", "run_error": "no", "run_is_deleted": True},
            Need.FAILED,
            "dags/device_sync_jasper",
        ),
        ({"failing_since": NOW}, Need.CARRIER, "dags/device_sync_jasper"),
        (
            {"failing_since": NOW, "run_status": "running", "synced_at": None},
            Need.CARRIER,
            "dags/device_sync_jasper/runs/scheduled__2026-11-24T04%3A00%3A00%2B00%3A00",
        ),
        ({"pools_over": 1, "quarantined": 1}, Need.POOL, "findings?provider=1"),
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
    assert headline([fine, late]) == (
        "1 of 2 providers is fine. C: the last complete sync is 2 days old. "
        "Next: trigger device_sync_jasper and see that it is not paused."
    )
    assert headline([fine, warned, late, failed]) == (
        "1 of 4 providers is fine; 1 has quarantined records. D: the sync failed at 2026-11-24 05:00 UTC: the carrier "
        "refused the login of connection c (401). Next: correct login and password of the connection that the error "
        "names, then clear the failed task of this provider with its downstream tasks. 1 more needs attention: C."
    )


def test_only_what_needs_nothing_is_counted_as_fine() -> None:
    fine = judge(provider("A"), NOW)
    quarantined = judge(provider("B", quarantined=1), NOW)
    warned = judge(provider("C", run_warnings=2), NOW)
    over = judge(provider("D", pools_over=1, pools_over_amount=Decimal("91.80")), NOW)
    down = judge(provider("E", failing_since=NOW - timedelta(hours=2)), NOW)
    late = judge(provider("F", synced_at=NOW - timedelta(days=2)), NOW)
    assert headline([fine, fine]) == "All 2 providers are fine."
    assert headline([quarantined]) == "B: quarantine holds 1 record. Next: run bin/amop quarantine list."
    assert headline([fine, quarantined, warned, warned, over]) == (
        "1 of 5 providers is fine; 1 has a pool heading over its allowance; 1 has quarantined records; "
        "2 have warnings of their last sync."
    )
    assert over.reason == "1 pool is heading over the allowance, costing USD 91.80"
    assert headline([fine, down]) == (
        "1 of 2 providers is fine. E: its carrier has given no usable answer since 2026-11-24 10:00 UTC. "
        "Next: wait, its tasks resume on their own; ask the carrier if it lasts."
    )
    failed = judge(provider("G", run_status="failed", run_ended_at=NOW, run_error=REFUSED), NOW)
    assert headline([fine, down, late, failed]).endswith(
        " 2 more need attention: E (no usable answer of its carrier since 2026-11-24 10:00 UTC), F."
    )
    rows = [fine, quarantined, warned, over, down, late, failed]
    assert [row.stored.name for row in rows if not row.needs_nothing] == [
        row.stored.name for row in rows if row.next_step is not None
    ]


def test_an_outage_does_not_hide_an_open_approval() -> None:
    row = judged(failing_since=NOW, approval_session_id=7, approval_changes=1, approval_savings=Decimal(3))
    assert row.reason == (
        "its carrier has given no usable answer since 2026-11-24 12:00 UTC. Session 7 waits: an approval is needed for "
        "1 plan change, saving USD 3.00"
    )


def test_where_the_sync_of_a_failed_session_was_redone_only_the_optimization_is_missing() -> None:
    row = judged(
        id=5,
        session_id=7,
        session_status="failed",
        session_error="Device sync run 13 was not complete. `bin/amop runs resume 13` resumes it",
        session_is_deleted=True,
        session_sync_is_redone=True,
    )
    assert row.reason == (
        "the sync of session 7 failed, and the sync of 2026-11-24 04:00 UTC has replaced it: only the optimization is "
        "missing"
    )
    command = "airflow dags trigger carrier_optimization_jasper --conf '{\"service_provider_id\": 5}'"
    assert row.action == f"trigger the optimization: {command}"


def test_a_first_sync_and_what_the_existing_system_reads_are_not_counted_as_fine() -> None:
    fine, starting = judge(provider("A"), NOW), judge(provider("B", synced_at=None, run_status="running"), NOW)
    outside = judge(provider("C", synced_at=None, run_status=None, integration="pond"), NOW)
    late = judge(provider("D", synced_at=NOW - timedelta(days=2)), NOW)
    assert headline([starting]) == "B: its first sync is running."
    assert headline([outside]) == "C: the existing system reads its SIMs; this package has no client of Pond."
    assert headline([late]).startswith("D: the last complete sync is 2 days old. Next: ")
    assert headline([fine, starting]) == "1 of 2 providers is fine; the first sync of B is running."
    assert headline([fine, starting, starting, outside]) == (
        "1 of 4 providers is fine; 2 others run their first sync; the existing system reads the SIMs of C."
    )
    assert headline([fine, starting, late]).startswith(
        "1 of 3 providers is fine; the first sync of B is running. D: the last complete sync is 2 days old."
    )


def test_after_its_dag_run_was_deleted_a_failure_is_answered_by_a_new_run() -> None:
    failed: dict[str, Any] = {"id": 5, "run_status": "failed", "run_ended_at": NOW, "run_is_deleted": True}
    for error, cause in (
        (REFUSED, "correct login and password of the connection that the error names, then "),
        ("disk full", "remove the cause that the error names, then "),
    ):
        row = judged(**failed, run_error=error)
        command = "airflow dags trigger device_sync_jasper --conf '{\"service_provider_ids\": [5]}'"
        assert row.action == f"{cause}trigger a new run: {command}"
        assert "clear" not in row.action
        assert row.reason.endswith("Its run was deleted in Airflow")
    session = judged(id=5, session_id=7, session_status="failed", session_error="no", session_is_deleted=True)
    command = "airflow dags trigger carrier_optimization_jasper --conf '{\"service_provider_id\": 5}'"
    assert session.action == f"remove the cause that the error names, then trigger a new run: {command}"


def test_approved_plan_changes_that_were_not_sent_are_named_with_what_to_do() -> None:
    row = judged(**UNSENT)
    assert row.reason == (
        "3 approved plan changes of session 7 were not sent: AT&T: the carrier refused the login of connection c (401)"
    )
    assert row.action == (
        "correct login and password of the connection that the error names, then clear apply_changes of session 7 in "
        "carrier_optimization_jasper with its downstream tasks, which sends the others"
    )
    partly = {"unsent_applied": 1, "unsent_whole": 4, "unsent_saving": Decimal(7)}
    for saving, said in (
        (Decimal("-53.92"), ": the bill is USD 53.92 higher than before; all 4 would save USD 7.00"),
        (Decimal("3.5"), ": the bill is USD 3.50 lower than before; all 4 would save USD 7.00"),
        (Decimal(0), ": the bill is the same as before; all 4 would save USD 7.00"),
        (None, "; all 4 would save USD 7.00"),
    ):
        sent = judged(**UNSENT, **partly, unsent_reached_saving=saving)
        assert sent.reason == f"{row.reason}. 1 of 4 changes was applied{said}"
    idle = judged(**(UNSENT | {"unsent_is_stopped": False, "unsent_changes": 1}))
    assert idle.reason == "1 approved plan change of session 7 waits, and none was sent since 2026-11-24 11:00 UTC"
    assert idle.action.startswith("see whether apply_changes of session 7 in carrier_optimization_jasper waits for")
    failed = judged(**UNSENT, run_status="failed", run_ended_at=NOW, run_error="no")
    assert failed.need is Need.FAILED
    assert "the sync failed at 2026-11-24 12:00 UTC: no. 3 approved plan changes of session 7 were not" in failed.reason
    lost = judged(**(UNSENT | {"unsent_is_stopped": False, "unsent_is_lost": True, "unsent_since": NOW}))
    assert lost.reason == (
        "3 approved plan changes of session 7 were not sent: its run has ended in Airflow before it had sent them"
    )
    assert lost.action == (
        "clear apply_changes of session 7 in carrier_optimization_jasper with its downstream tasks, which sends the "
        "others"
    )
    gone = judged(**(UNSENT | {"unsent_is_stopped": False, "unsent_is_deleted": True, "unsent_since": NOW}))
    assert gone.reason.endswith("were not sent: its run was deleted in Airflow")
    assert gone.action.startswith("optimize again: airflow dags trigger carrier_optimization_jasper")
    deleted = provider(**(UNSENT | {"unsent_is_deleted": True}))
    assert unsent_action(deleted).endswith(
        "airflow dags trigger carrier_optimization_jasper --conf '{\"service_provider_id\": 1}'"
    )


def test_a_limit_on_plan_changes_is_named_with_what_it_costs() -> None:
    capped: dict[str, Any] = {"change_cap": 40, "uncapped_changes": 12, "uncapped_saving": Decimal("9.745")}
    note = "capped by maximum_changes = 40; without the cap 12 more changes would save USD 9.75"
    assert judged(**capped).cap_note == note
    assert judged(**(capped | {"uncapped_changes": 1})).cap_note == note.replace("12 more changes", "1 more change")
    assert judged(**(capped | {"uncapped_saving": Decimal(0)})).cap_note == (
        "capped by maximum_changes = 40; without the cap no cheaper plans were found"
    )
    assert judged(change_cap=40).cap_note is None


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
