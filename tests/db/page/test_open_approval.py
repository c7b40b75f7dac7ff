"""An open approval stays in sight while the provider is optimized again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amop.cli import main as cli
from amop.cli import status
from amop.database.connection import connect
from amop.page.needs import Need, ProviderToday
from amop.page.session import read_session
from amop.page.today import read_today
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.optimization_world import NOW, OptimizationWorld
from tests.worlds.page_world import set_database_moment


@pytest.fixture
def world(warehouse_dsn: str, postgres_server: EmbeddedPostgres) -> OptimizationWorld:
    set_database_moment(postgres_server, warehouse_dsn, NOW)
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "9", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(3):
        world.add_sim(f"890000000{number}", "Tracking", "Large", 1)
    return world


def wait_for_approval(world: OptimizationWorld) -> int:
    """Optimize, let the plan changes wait for an approval, and return the session."""
    row = world.optimize()
    world.execute("UPDATE amop.optimization_instance SET changes_status = 'waiting' WHERE id = %s", row["id"])
    return int(row["session_id"])


def today(world: OptimizationWorld) -> ProviderToday:
    with connect(world.dsn) as connection:
        (row,) = read_today(connection, integrations=["jasper"], order=None).table.rows
    return row


def test_an_approval_is_shown_until_a_newer_optimization_has_completed(world: OptimizationWorld) -> None:
    session_id = wait_for_approval(world)
    instance_id = world.open(opened_by="carrier_optimization_jasper/again")
    row = today(world)
    assert (row.stored.session_status, row.stored.session_id) == ("running", session_id + 1)
    assert (row.need, row.reason) == (Need.APPROVAL, "an approval is needed for 3 plan changes, saving USD 24.00")
    assert row.next_step is not None and row.next_step.address == f"session/{session_id}#approval"
    for step in world.steps(instance_id):
        step()
    assert today(world).stored.approval_session_id is None  # its request is withdrawn


def test_an_optimization_that_only_proposes_withdraws_no_approval(world: OptimizationWorld) -> None:
    session_id = wait_for_approval(world)
    proposal = world.optimize(opened_by="carrier_optimization_jasper/again", apply_changes="never")
    row = today(world)
    assert (row.need, row.stored.approval_session_id) == (Need.APPROVAL, session_id)
    assert proposal["session_id"] > session_id
    world.optimize(opened_by="carrier_optimization_jasper/third")
    assert today(world).stored.approval_session_id is None


def test_an_approval_whose_run_was_deleted_is_answered_by_a_new_optimization(world: OptimizationWorld) -> None:
    session_id = wait_for_approval(world)
    world.execute("UPDATE amop.optimization_session SET dag_run_deleted_at = %s WHERE id = %s", NOW, session_id)
    row = today(world)
    assert row.need is Need.APPROVAL
    assert row.reason == (
        "an approval is needed for 3 plan changes, saving USD 24.00; its request was deleted with its run in Airflow"
    )
    assert row.action == (
        "optimize again: airflow dags trigger carrier_optimization_jasper --conf '{\"service_provider_id\": 1}'"
    )
    assert row.next_step is not None and row.next_step.address == f"session/{session_id}"


def test_an_approval_whose_run_has_ended_without_an_answer_is_asked_again_by_clearing(world: OptimizationWorld) -> None:
    session_id = wait_for_approval(world)
    world.execute("UPDATE amop.optimization_session SET approval_lost_at = %s WHERE id = %s", NOW, session_id)
    row = today(world)
    assert row.need is Need.APPROVAL
    assert row.reason.endswith("saving USD 24.00; its run has ended in Airflow without an answer")
    assert row.action == (
        f"clear approve_changes of session {session_id} in carrier_optimization_jasper with its downstream tasks, "
        "which asks again"
    )


@pytest.mark.parametrize(
    ("column", "step"),
    [
        ("dag_run_deleted_at", "optimize again: airflow dags trigger carrier_optimization_jasper"),
        ("approval_lost_at", "clear approve_changes of session"),
    ],
)
def test_a_session_whose_request_is_gone_has_no_form_and_says_what_to_do(
    world: OptimizationWorld, column: str, step: str
) -> None:
    session_id = wait_for_approval(world)
    world.execute("UPDATE amop.optimization_instance SET changes_planned_by = 'carrier_optimization_jasper/a'")
    for moment, has_form in ((None, True), (NOW, False)):
        world.execute(f"UPDATE amop.optimization_session SET {column} = %s", moment)
        with connect(world.dsn) as connection:
            view = read_session(connection, session_id, integrations=["jasper"], orders={})
        assert view is not None and (view.approval is not None) is has_form
        assert (step in (view.stop or "")) is not has_form


def test_a_trial_of_one_task_does_not_hide_what_a_provider_needs(world: OptimizationWorld) -> None:
    before = today(world)
    world.insert(
        "device_sync_run",
        service_provider_id=1,
        dag_id="device_sync_jasper",
        dag_run_id="__airflow_temporary_run_1",
        is_full=True,
        billing_period_id=world.billing_period_id,
        started_at=NOW,
        progress_at=NOW,
    )
    assert (today(world).need, today(world).reason) == (before.need, before.reason)


def test_an_approval_is_shown_when_the_next_optimization_has_failed(world: OptimizationWorld) -> None:
    session_id = wait_for_approval(world)
    world.open(opened_by="carrier_optimization_jasper/again")
    world.execute("UPDATE amop.optimization_session SET status = 'failed', error = 'no proof' WHERE status = 'running'")
    row = today(world)
    assert row.need is Need.FAILED
    assert f"Session {session_id} waits: an approval is needed for 3 plan changes" in row.reason


def test_the_command_line_lists_it_too(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id = wait_for_approval(world)
    world.open(opened_by="carrier_optimization_jasper/again")
    monkeypatch.setattr(status, "warehouse_conninfo", lambda: world.dsn)
    with pytest.raises(SystemExit):
        cli.main(["status"])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Approval needed: AT&T, session {session_id}: 3 plan changes, saving USD 24.00." in printed
    with pytest.raises(SystemExit):
        cli.main(["status", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [approval["session_id"] for approval in found["approvals"]] == [session_id]
