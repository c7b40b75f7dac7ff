"""What Today, ``bin/amop status`` and a session say of unsent changes, first syncs, a cap and a running session."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from amop.cli import main as cli
from amop.cli import status
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import connect
from amop.page.needs import Need
from amop.page.session import SessionView, read_session
from amop.page.session_tables import LONGEST_NOTE, read_changes
from amop.page.today import Today, read_today
from amop.plan_changes.apply import stop_changes
from amop.plan_changes.decide import approval_request
from amop.reports.mail import mail_to_send
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.optimization_world import NOW, OptimizationWorld
from tests.worlds.page_world import set_database_moment

SIMS = 5
REACHED = "2 of 5 changes were applied: the bill is USD 16.00 lower than before; all 5 would save USD 40.00"


@pytest.fixture
def world(warehouse_dsn: str, postgres_server: EmbeddedPostgres) -> OptimizationWorld:
    set_database_moment(postgres_server, warehouse_dsn, NOW)
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "9", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(SIMS):
        world.add_sim(f"890000000{number}", "Tracking", "Large", 1)
    return world


def read(world: OptimizationWorld) -> Today:
    with connect(world.dsn) as connection:
        return read_today(connection, integrations=list(KNOWN_INTEGRATIONS), order=None)


def read_view(world: OptimizationWorld, session_id: int) -> SessionView:
    with connect(world.dsn) as connection:
        view = read_session(connection, session_id, integrations=["jasper"], orders={})
    assert view is not None
    return view


def approve(world: OptimizationWorld, *, decided_at: datetime = NOW) -> tuple[int, int]:
    """Optimize and approve the plan changes; two of them are sent. Return session and instance."""
    world.execute(
        "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id,"
        " started_at, ended_at) VALUES (1, 'device_sync_jasper', 'night', 'complete', true, %s, %s, %s)",
        world.billing_period_id,
        NOW,
        NOW,
    )
    row = world.optimize()
    world.execute(
        "UPDATE amop.optimization_instance SET changes_status = 'approved', changes_decided_at = %s", decided_at
    )
    world.execute(
        "UPDATE amop.rate_plan_change SET state = CASE WHEN id <= (SELECT min(id) + 1 FROM amop.rate_plan_change)"
        " THEN 'applied' ELSE 'approved' END"
    )
    return int(row["session_id"]), int(row["id"])


def print_status(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    monkeypatch.setattr(status, "warehouse_conninfo", lambda: world.dsn)
    with pytest.raises(SystemExit):
        cli.main(["status", *arguments])
    return capsys.readouterr().out


def test_plan_changes_whose_sending_stopped_are_named_until_they_are_sent(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id, instance_id = approve(world)
    assert read(world).headline == "AT&T is fine."  # they are being sent
    stop_changes(world.dsn, instance_id, "AT&T: the carrier refused the login of connection c (401)", now=NOW)
    today = read(world)
    assert [(row.need, row.next_step and row.next_step.address) for row in today.table.rows] == [
        (Need.STOPPED, f"session/{session_id}/changes?state=approved")
    ]
    assert today.headline == (
        f"AT&T: 3 approved plan changes of session {session_id} were not sent: AT&T: the carrier refused the login of "
        "connection c (401). 2 of 5 changes were applied: the bill is USD 16.00 lower than before; all 5 would save "
        "USD 40.00. Next: correct login and password of the connection that the error names, then clear "
        f"apply_changes of session {session_id} in carrier_optimization_jasper with its downstream tasks, which sends "
        "the others."
    )
    printed = " ".join(print_status(world, monkeypatch, capsys).split())
    assert f"Plan changes stopped: AT&T, session {session_id}: 3 approved changes were not sent. 2 of 5 " in printed
    assert "all 5 would save USD 40.00. Next: correct login" in printed
    (unsent,) = json.loads(print_status(world, monkeypatch, capsys, "--json"))["unsent_changes"]
    assert (unsent["session_id"], unsent["plan_changes"]) == (session_id, 3)
    assert unsent["reached"].startswith("2 of 5 changes were applied: the bill is USD 16.00 lower than before; ")
    assert read_view(world, session_id).reached == f"{unsent['reached']}."
    world.execute("UPDATE amop.optimization_session SET dag_run_deleted_at = %s", NOW)
    assert "then optimize again: airflow dags trigger carrier_optimization_jasper --conf" in read(world).headline
    world.execute("UPDATE amop.rate_plan_change SET state = 'applied'")
    assert read(world).headline == "AT&T is fine."
    assert read_view(world, session_id).reached is None


def test_plan_changes_whose_run_has_ended_are_named_at_once_with_the_way_on(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id, _ = approve(world)
    assert (read_view(world, session_id).stop, read(world).headline) == (None, "AT&T is fine.")
    world.execute("UPDATE amop.optimization_session SET applying_lost_at = %s", NOW)
    clear = (
        f"clear apply_changes of session {session_id} in carrier_optimization_jasper with its downstream tasks, which "
        "sends the others"
    )
    loss = "not sent: its run has ended in Airflow before it had sent them"
    assert read(world).headline == (
        f"AT&T: 3 approved plan changes of session {session_id} were {loss}. {REACHED}. Next: {clear}."
    )
    assert read_view(world, session_id).stop == f"3 approved plan changes were {loss}. Next: {clear}."
    assert f"not sent. {REACHED}. Next: {clear}" in " ".join(print_status(world, monkeypatch, capsys).split())


def test_approved_plan_changes_that_no_task_sends_are_named_after_the_time_of_a_stale_run(
    world: OptimizationWorld,
) -> None:
    session_id, _ = approve(world, decided_at=NOW - timedelta(minutes=46))
    (row,) = read(world).table.rows
    assert (row.need, row.reason) == (
        Need.STOPPED,
        f"3 approved plan changes of session {session_id} wait, and none was sent since 2026-11-03 09:44 UTC. "
        f"{REACHED}",
    )
    world.execute(
        "UPDATE amop.rate_plan_change SET applied_at = %s WHERE state = 'applied'", NOW - timedelta(minutes=9)
    )
    assert read(world).headline == "AT&T is fine."


def test_plan_changes_of_a_closed_period_or_of_a_superseded_session_cannot_be_sent_any_more(
    world: OptimizationWorld,
) -> None:
    _, instance_id = approve(world)
    stop_changes(world.dsn, instance_id, "stopped", now=NOW)
    world.optimize(opened_by="carrier_optimization_jasper/again")
    assert read(world).headline == "AT&T is fine."
    world.execute(
        "UPDATE amop.optimization_instance SET run_status = 'complete_with_errors' WHERE id > %s", instance_id
    )
    assert read(world).table.rows[0].need is Need.STOPPED
    world.execute("UPDATE amop.billing_period SET cycle_end = %s", NOW - timedelta(minutes=1))
    assert read(world).headline == "AT&T is fine."


@pytest.mark.parametrize(
    ("integration", "headline"),
    [
        ("thingspace", "AT&T: its first sync is running."),
        ("pond", "AT&T: its first sync is running."),
    ],
)
def test_a_provider_whose_first_sync_is_running_is_not_fine_yet(
    world: OptimizationWorld, integration: str, headline: str
) -> None:
    world.execute(
        "UPDATE amop.service_provider SET integration_id = (SELECT id FROM amop.integration WHERE name = %s)",
        integration,
    )
    world.execute(
        "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id)"
        " VALUES (1, 'd', 'first', 'running', true, %s)",
        world.billing_period_id,
    )
    today = read(world)
    assert (today.headline, today.is_fine) == (headline, True)


@pytest.mark.parametrize(
    ("integration", "said"),
    [
        ("thingspace", "1 of 2 providers is fine. Other: it has never been synced. Next: trigger device_sync_thing"),
        ("pond", "1 of 2 providers is fine; the existing system reads the SIMs of Other."),
        ("telegence", "1 of 2 providers is fine; the existing system reads the SIMs of Other."),
    ],
)
def test_a_provider_of_every_family_is_counted_with_what_is_true_of_it(
    world: OptimizationWorld,
    integration: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    approve(world)
    world.execute("UPDATE amop.rate_plan_change SET state = 'applied'")
    world.execute(
        "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)"
        " SELECT 2, 1, id, 'Other', 'c', 'UTC' FROM amop.integration WHERE name = %s",
        integration,
    )
    assert read(world).headline.startswith(said)
    assert " ".join(print_status(world, monkeypatch, capsys).split()).startswith(said)


def complete_sync(world: OptimizationWorld, started_at: datetime) -> None:
    """Add a complete sync that took a minute."""
    world.execute(
        "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id,"
        " started_at, ended_at) VALUES (1, 'device_sync_jasper', %s, 'complete', true, %s, %s, %s)",
        str(started_at),
        world.billing_period_id,
        started_at,
        started_at + timedelta(minutes=1),
    )


@pytest.mark.parametrize(
    ("account", "last_call", "is_down"),
    [
        ("AT&T (connection carrier_jasper)", NOW, True),
        ("Its sister (connection carrier_jasper)", NOW, True),
        ("AT&T (connection not_carrier_jasper)", NOW, False),
        ("AT&T (connection carrier_jasper)", NOW - timedelta(hours=3), False),  # the next sync had another API user
    ],
)
def test_a_provider_whose_carrier_gives_no_usable_answer_is_not_fine(
    world: OptimizationWorld, account: str, last_call: datetime, is_down: bool
) -> None:
    complete_sync(world, NOW - timedelta(hours=2))
    assert read(world).headline == "AT&T is fine."
    world.execute(
        "INSERT INTO amop.carrier_api_user (api_user, account, failures, failing_since, recent_calls)"
        " VALUES ('hash', %s, 1, %s, %s)",
        account,
        NOW - timedelta(hours=1),
        [NOW - timedelta(hours=4), last_call],
    )
    today = read(world)
    assert today.is_fine is not is_down
    assert today.headline.startswith(
        "AT&T: its carrier has given no usable answer since 2026-11-03 09:30 UTC. Next: " if is_down else "AT&T is fine"
    )


def test_a_pool_heading_over_its_allowance_is_named_until_it_is_dismissed_or_the_period_is_over(
    world: OptimizationWorld,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    complete_sync(world, NOW - timedelta(hours=2))
    found = {"service_provider_id": 1, "facts": Jsonb({}), "first_found_at": NOW, "last_found_at": NOW}
    period = str(world.billing_period_id)
    world.insert("finding", kind="pool_over", subject="pool A", occurrence=period, amount="91.80", **found)
    world.insert("finding", kind="no_usage", subject="1", occurrence=period, amount="5", **found)
    world.insert("finding", kind="pool_over", subject="pool A", occurrence="0", amount="7", **found)
    today = read(world)
    assert today.headline == (
        "AT&T: 1 pool is heading over the allowance, costing USD 91.80. Next: see the finding and what it says to do."
    )
    assert (today.is_fine, today.needs_attention) == (False, False)
    printed = json.loads(print_status(world, monkeypatch, capsys, "--json"))
    assert printed["needs"] == [
        {
            "service_provider": "AT&T",
            "need": "pool",
            "reason": "1 pool is heading over the allowance, costing USD 91.80",
            "next": "see the finding and what it says to do",
        }
    ]
    world.execute("UPDATE amop.finding SET dismissed_at = %s, dismissed_by = 'ann'", NOW)
    assert read(world).headline == "AT&T is fine."


def test_needs_that_the_sentence_only_counts_are_printed_below_it(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete_sync(world, NOW - timedelta(hours=2))
    world.execute("UPDATE amop.device_sync_run SET warnings = '{odd}'")
    world.execute(
        "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)"
        " VALUES (2, 1, 1, 'Other', 'c', 'UTC')"
    )
    printed = " ".join(print_status(world, monkeypatch, capsys).split())
    assert printed.startswith(
        "0 of 2 providers are fine; 1 has warnings of its last sync. Other: it has never been synced. Next: "
    )
    assert "Also: AT&T: the last sync has 1 warning. Next: read the warnings of the sync" in printed
    assert "Also: Other" not in printed
    assert "UTC; 0 work rows are left" in printed


def test_a_failed_session_whose_sync_was_redone_needs_only_the_optimization(world: OptimizationWorld) -> None:
    session_id = world.insert(
        "optimization_session",
        service_provider_id=1,
        billing_period_id=world.billing_period_id,
        status="failed",
        error="Device sync run 13 was not complete. `bin/amop runs resume 13` resumes it",
        opened_by="device_sync_jasper/night",
        started_at=NOW - timedelta(hours=5),
        ended_at=NOW - timedelta(hours=4),
    )
    complete_sync(world, NOW - timedelta(hours=9))
    world.execute(
        "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id,"
        " started_at, ended_at, error, optimization_session_id) VALUES (1, 'device_sync_jasper', 'night', 'failed',"
        " true, %s, %s, %s, 'no', %s)",
        world.billing_period_id,
        NOW - timedelta(hours=5),
        NOW - timedelta(hours=4),
        session_id,
    )
    assert read(world).headline.startswith("AT&T: the sync failed at 2026-11-03 06:30 UTC: no. Next: ")
    complete_sync(world, NOW - timedelta(hours=2))
    assert read(world).headline == (
        f"AT&T: the sync of session {session_id} failed, and the sync of 2026-11-03 08:31 UTC has replaced it: only "
        "the optimization is missing. Next: trigger the optimization: airflow dags trigger "
        "carrier_optimization_jasper --conf '{\"service_provider_id\": 1}'."
    )


def test_a_cap_on_plan_changes_is_named_with_what_it_costs(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET maximum_changes = 2")
    row = world.optimize()
    assert (row["savings"], row["uncapped_change_count"], row["uncapped_cost"]) == (Decimal(16), SIMS, Decimal(5))
    note = "capped by maximum_changes = 2; without the cap 3 more changes would save USD 24.00"
    mail = mail_to_send(world.dsn, row["id"], sender="a@b.example", recipients="c@d.example", links={})
    assert all(f"The plan changes are {note}." in part.get_content() for part in mail.iter_parts())
    assert (
        f"The plan changes are {note}."
        in approval_request(world.dsn, row["id"], call_rate=lambda *_: 5.0, now=NOW).body
    )
    world.execute("UPDATE amop.optimization_instance SET changes_status = 'applied'")
    (provider,) = read(world).table.rows
    assert (provider.possible_saving, provider.cap_note) == (Decimal(0), note)
    assert f" The plan changes are {note}." in read_view(world, row["session_id"]).proof


@pytest.mark.parametrize("cap", [None, SIMS, SIMS + 1])
def test_a_cap_that_keeps_nothing_from_being_saved_is_not_named(world: OptimizationWorld, cap: int | None) -> None:
    world.execute("UPDATE amop.service_provider SET maximum_changes = %s", cap)
    row = world.optimize()
    assert row["savings"] == Decimal(40)
    (provider,) = read(world).table.rows
    assert "would save" not in f"{provider.cap_note} {read_view(world, row['session_id']).proof}"


def test_a_running_session_does_not_say_that_there_is_nothing_before_it_knows(world: OptimizationWorld) -> None:
    instance_id = world.open()
    session_id = world.instance(instance_id)["session_id"]
    *first, write_results, publish = world.steps(instance_id)
    for step in first[:4]:
        step()

    def empty() -> dict[str, str]:
        view = read_view(world, session_id)
        tables: list[Any] = [view.groups, view.moves, view.plans, view.pools, view.excluded, view.top_savers]
        return {table.name: table.empty for table in tables}

    results = ("moves", "plans", "pools", "savers")
    unknown = dict.fromkeys(results, "Not known yet: the session is at 40 %.")
    assert empty() == unknown | {"groups": "No group of communication plans.", "excluded": "No SIM is excluded."}
    world.execute("UPDATE amop.optimization_session SET status = 'failed'")
    assert empty()["moves"] == "Not known: the session ended at 40 %."
    world.execute("UPDATE amop.optimization_session SET status = 'running'")
    for step in (*first[4:], write_results, publish):
        step()
    assert empty()["moves"] == "No SIM changes its rate plan."


def test_a_long_comment_is_shortened_in_the_rows_and_whole_in_the_session(world: OptimizationWorld) -> None:
    session_id, instance_id = approve(world)
    reason = f"rejected by ann: {'too late ' * 440}".rstrip()
    assert len(reason) > 3900
    world.execute("UPDATE amop.rate_plan_change SET state = 'rejected', error = %s", reason)
    world.execute(
        "UPDATE amop.optimization_instance SET changes_status = 'rejected', changes_reason = %s WHERE id = %s",
        reason,
        instance_id,
    )
    with connect(world.dsn) as connection:
        table = read_changes(connection, instance_id, currency="USD")
    (state,) = (column for column in table.columns if column.name == "state")
    assert state.note is not None
    notes = {state.note(row) for row in table.rows}
    assert len(table.rows) == SIMS
    assert [len(str(note)) <= LONGEST_NOTE and str(note).startswith("rejected by ann: too late") for note in notes] == [
        True
    ]
    assert read_view(world, session_id).stored.changes_reason == reason


@pytest.mark.parametrize(
    ("status", "reason", "by", "words"),
    [
        ("approved", "approved by ann", "ann", "by ann; 2026-11-03 10:30 UTC"),
        ("approved", "approved by ann: fine", "ann", "by ann: fine; 2026-11-03 10:30 UTC"),
        ("rejected", "rejected by ann: no", "ann", "by ann: no; 2026-11-03 10:30 UTC"),
        (
            "no_go",
            "approved by ann, but no go: late",
            "ann",
            "approved by ann, but no go: late; decided by ann, 2026-11",
        ),
        ("no_go", "no go: late", "amop", "late; decided by amop, 2026-11-03 10:30 UTC"),
        ("superseded", "superseded by instance 2", "amop", "by instance 2; decided by amop, 2026-11-03 10:30 UTC"),
        ("waiting", "3 changes are more than 2", "amop", "3 changes are more than 2"),
    ],
)
def test_a_decision_is_said_once(world: OptimizationWorld, status: str, reason: str, by: str, words: str) -> None:
    session_id, _ = approve(world)
    world.execute(
        "UPDATE amop.optimization_instance SET changes_status = %s, changes_reason = %s, changes_decided_by = %s",
        status,
        reason,
        by,
    )
    assert read_view(world, session_id).decision.startswith(words)
