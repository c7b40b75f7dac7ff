"""Which event leads to which notification, and what the message says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from amop.notifications import rules
from amop.notifications.message import MOST_ENTRIES, build_message
from amop.notifications.store import FailedRun, LastSync, PendingNotification

NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
RUNBOOK = (Path(__file__).resolve().parents[3] / "docs" / "runbook.md").read_text(encoding="utf-8")


def failed_run(provider: str = "POD19", **values: Any) -> FailedRun:
    usual: dict[str, Any] = {
        "service_provider_id": 2,
        "provider": provider,
        "time_zone": "America/Chicago",
        "error": f"{provider} (2), run 17: the sync is not complete",
        "dag_id": "device_sync_pod19",
        "dag_run_id": "scheduled__2026-11-24T04:15:00+00:00",
        "is_deleted": False,
        "ended_at": NOW,
    }
    return FailedRun(**(usual | values))


def pending(number: int = 1, **values: Any) -> PendingNotification:
    usual = {"kind": "sync_failed", "provider": f"P{number}", "cause": "no", "first_step": "wait", "address": "x"}
    return PendingNotification(id=number, attempts=0, **(usual | values))


def test_one_cause_of_a_provider_is_told_of_once_a_local_day_whatever_run_it_names() -> None:
    first = rules.of_failed_run(failed_run())
    again = rules.of_failed_run(failed_run(error="POD19 (2), run 18: the sync is not complete", dag_run_id="manual"))
    other = rules.of_failed_run(failed_run(error="POD19 (2), run 18: the clock of worker x is wrong"))
    # 05:30 UTC of the 25th is still the evening of the 24th in Chicago.
    evening = rules.of_failed_run(failed_run(ended_at=datetime(2026, 11, 25, 5, 30, tzinfo=UTC)))
    next_day = rules.of_failed_run(failed_run(ended_at=datetime(2026, 11, 25, 6, 30, tzinfo=UTC)))
    assert first.dedupe_key == again.dedupe_key == evening.dedupe_key
    assert len({first.dedupe_key, other.dedupe_key, next_day.dedupe_key}) == 3
    assert first.address == "dags/device_sync_pod19/runs/scheduled__2026-11-24T04%3A15%3A00%2B00%3A00"


def test_the_same_cause_at_two_providers_is_one_message_and_two_causes_are_two() -> None:
    one, two = (
        rules.of_failed_run(failed_run(name, service_provider_id=n)) for n, name in ((2, "POD19"), (4, "Rogers"))
    )
    other = rules.of_failed_run(failed_run(error="bad key"))
    assert one.dedupe_key != two.dedupe_key
    assert one.cause_key == two.cause_key != other.cause_key
    deleted = rules.of_failed_run(failed_run(is_deleted=True))
    assert '"service_provider_ids": [2]' in deleted.first_step  # a command of one provider is in a message of its own
    assert deleted.cause_key != one.cause_key


def test_a_message_names_cause_providers_first_step_and_link() -> None:
    message = build_message(
        [
            pending(1, provider="POD19", cause="bad <key>", first_step="correct it", address="dags/a/runs/b"),
            pending(2, provider="Rogers", cause="bad key\nand more", first_step="correct it", address="dags/c/runs/d"),
        ],
        base_url="https://airflow.example/root/",
    )
    assert message.subject == "AMOP: The sync failed: POD19, Rogers"
    assert message.text == (
        "The sync failed\n\n"
        "POD19\n  bad <key>\n  https://airflow.example/root/dags/a/runs/b\n\n"
        "Rogers\n  bad key\n  and more\n  https://airflow.example/root/dags/c/runs/d\n\n"
        "What to do first: correct it."
    )
    assert "bad &lt;key&gt;" in message.html and "<key>" not in message.html
    assert 'href="https://airflow.example/root/dags/c/runs/d"' in message.html


def test_a_message_about_many_providers_stays_short() -> None:
    message = build_message([pending(number) for number in range(1, 101)], base_url="")
    assert message.subject == "AMOP: The sync failed: P1, P2, P3 and 97 more"
    assert (len(message.entries), message.excluded) == (MOST_ENTRIES, 50)
    assert "50 more: bin/amop status" in message.text


def test_a_line_feed_of_a_name_reaches_no_header() -> None:
    message = build_message([pending(provider="P\r\nBcc: x@y")], base_url="")
    assert message.subject == "AMOP: The sync failed: P Bcc: x@y"


def last_sync(**values: Any) -> LastSync:
    usual: dict[str, Any] = {
        "service_provider_id": 2,
        "provider": "POD19",
        "time_zone": "America/Chicago",
        "integration": "pod19",
        "complete_started_at": NOW - timedelta(hours=30),
        "failed_at": None,
    }
    return LastSync(**(usual | values))


@pytest.mark.parametrize(
    ("values", "due_hour", "is_late"),
    [
        ({}, 8, True),  # it is 08:05 in Chicago
        ({}, 9, False),
        ({"time_zone": "America/Los_Angeles"}, 8, False),  # it is 06:05 there
        ({"complete_started_at": NOW - timedelta(hours=10)}, 8, False),
        ({"complete_started_at": None}, 8, True),
        ({"integration": "pond"}, 8, False),  # the existing system reads its SIMs
        ({"failed_at": NOW - timedelta(hours=9)}, 8, False),  # that failure has its own message
        ({"failed_at": NOW - timedelta(hours=40)}, 8, True),
        ({"time_zone": "Nowhere/Land"}, 8, False),  # the sync of such a provider is refused with that reason
    ],
)
def test_a_sync_is_late_from_a_local_hour_on(values: dict[str, Any], due_hour: int, is_late: bool) -> None:
    found = list(rules.late_syncs([last_sync(**values)], NOW, due_hour))
    assert [each.kind for each in found] == ["sync_late"] * is_late


def test_a_late_sync_is_told_of_once_a_local_day() -> None:
    keys = {
        next(rules.late_syncs([last_sync()], NOW + timedelta(hours=hours), 8)).dedupe_key for hours in (0, 1, 9, 15, 24)
    }
    assert keys == {"sync_late:2:2026-11-24", "sync_late:2:2026-11-25"}


def test_kinds_are_switched_off_by_name_and_a_wrong_name_is_refused() -> None:
    assert rules.switched_off(None) == rules.switched_off("  ") == frozenset()
    assert rules.switched_off("sync_summary; sync_late,amop_away") == {"sync_summary", "sync_late", "amop_away"}
    with pytest.raises(ValueError, match="'sync_sumary' is not a kind of notification; these are: sync_failed, "):
        rules.switched_off("sync_sumary")


@pytest.mark.parametrize("kind", rules.KINDS)
def test_the_runbook_lists_every_kind(kind: str) -> None:
    assert f"`{kind}`" in RUNBOOK
