"""``bin/amop runs``, ``sessions``, ``messages``, ``carriers``, ``periods`` on a real warehouse; Airflow is played."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from amop import ids
from amop.cli.airflow_client import AirflowClient
from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.database.connection import transaction
from amop.maintenance.operations import CLEANUP_TASKS, OPTIMIZATION_TASKS, SYNC_TASKS
from amop.runs.sync_runs import end_run
from tests.db.cli.test_cli import as_airflow_json, run
from tests.worlds.watchdog_world import NOW, WatchdogWorld

AFTER = (*CLEANUP_TASKS, *OPTIMIZATION_TASKS)


class PlayedAirflow(AirflowClient):
    """Airflow's answers: what `select_providers` returned, and the instances that it clears."""

    selected: tuple[int, ...] = ()
    is_deleted = False
    is_mapped = True
    cleared: list[tuple[str, str, list[tuple[str, int]]]]

    def __init__(self) -> None:
        self.cleared = []

    def has_run(self, dag_id: str, dag_run_id: str) -> bool:
        """Return whether Airflow has the DAG run."""
        return not self.is_deleted

    def returned_value(self, dag_id: str, dag_run_id: str, task_id: str) -> Any:
        """Return the providers of the DAG run."""
        assert task_id == "select_providers"
        return [{"run_id": run_id} for run_id in self.selected]

    def clear(self, dag_id: str, dag_run_id: str, instances: Any) -> list[tuple[str, int]]:
        """Record what is cleared."""
        self.cleared.append((dag_id, dag_run_id, list(instances)))
        return [(task_id, index) for task_id, index in instances if (index >= 0) == self.is_mapped]


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> WatchdogWorld:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn))
    return WatchdogWorld(warehouse_dsn)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> PlayedAirflow:
    played = PlayedAirflow()
    monkeypatch.setattr(AirflowClient, "from_environment", lambda: played)
    return played


def fail(world: WatchdogWorld, run_id: int, **columns: Any) -> None:
    """End a run as failed, with some columns of its ledger."""
    changes = "".join(f", {name} = %({name})s" for name in columns)
    with psycopg.connect(world.dsn) as connection:
        connection.execute(
            f"UPDATE amop.device_sync_run SET pages = 3{changes} WHERE id = %(id)s",
            {"id": run_id, **columns},
        )
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "failed", "no key", now=NOW)


@pytest.mark.parametrize(
    ("ledger", "tasks"),
    [
        ({"pages": 0}, (*SYNC_TASKS, *AFTER)),
        ({}, (*SYNC_TASKS[1:], *AFTER)),
        ({"list_is_complete": True, "left": True}, (*SYNC_TASKS[2:], *AFTER)),
        ({"list_is_complete": True}, AFTER),
        ({"list_is_complete": True, "devices_merged_at": NOW}, AFTER[2:]),
        ({"list_is_complete": True, "devices_merged_at": NOW, "usage_merged_at": NOW}, AFTER[3:]),
    ],
    ids=["nothing read", "some pages read", "the list is read", "all is staged", "devices merged", "usage merged"],
)
def test_a_run_is_resumed_by_exactly_the_tasks_whose_work_is_missing(
    world: WatchdogWorld,
    airflow: PlayedAirflow,
    capsys: pytest.CaptureFixture[str],
    ledger: dict[str, Any],
    tasks: tuple[str, ...],
) -> None:
    run_id = world.open_sync()
    if ledger.pop("left", False):
        world.rows(
            "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid) VALUES (%s, 'device_usage', '8901')", run_id
        )
    pages = ledger.pop("pages", None)
    fail(world, run_id, **ledger)
    if pages is not None:
        world.rows("UPDATE amop.device_sync_run SET pages = %s", pages)
    airflow.selected = (run_id + 7, run_id)
    status, output, _ = run(capsys, "runs", "resume", str(run_id))
    assert status == 0
    assert airflow.cleared == [("device_sync_jasper", "monday", [(task_id, 1) for task_id in tasks])]
    printed = " ".join(output.split())
    assert f"cleared {len(tasks)} task instances of device_sync_jasper, run monday, map index 1" in printed
    assert all(task_id in printed for task_id in tasks)


def test_a_run_whose_tasks_are_not_mapped_yet_is_resumed_for_all_providers(
    world: WatchdogWorld, airflow: PlayedAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_sync()
    fail(world, run_id)
    world.rows("UPDATE amop.device_sync_run SET pages = 0")
    airflow.selected, airflow.is_mapped = (run_id,), False
    assert run(capsys, "runs", "resume", str(run_id))[0] == 0
    assert [{index for _, index in instances} for _, _, instances in airflow.cleared] == [{0}, {-1}]
    assert {task_id for task_id, _ in airflow.cleared[-1][2]} == {*SYNC_TASKS, *AFTER}


def test_a_run_whose_dag_run_was_deleted_cannot_be_resumed_and_a_new_one_is_to_be_triggered(
    world: WatchdogWorld, airflow: PlayedAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_sync()
    fail(world, run_id)
    provider = world.run(run_id)["service_provider_id"]
    airflow.is_deleted = True
    said = (
        "cannot be resumed: run monday of device_sync_jasper was deleted in Airflow. Trigger a new run: airflow dags "
        f"trigger device_sync_jasper --conf '{{\"service_provider_ids\": [{provider}]}}'"
    )
    status, _, error = run(capsys, "runs", "resume", str(run_id))
    assert (status, said in " ".join(error.split())) == (1, True)
    assert airflow.cleared == []
    world.rows("UPDATE amop.device_sync_run SET dag_run_deleted_at = ended_at WHERE id = %s", run_id)
    assert said in " ".join(run(capsys, "runs", "show", str(run_id))[1].split())


def test_a_run_that_cannot_be_resumed_says_what_to_do(
    world: WatchdogWorld, airflow: PlayedAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_sync()
    assert f"`bin/amop runs end {run_id}` ends it first" in run(capsys, "runs", "resume", str(run_id))[2]
    fail(world, run_id)
    assert "trigger a new run" in run(capsys, "runs", "resume", str(run_id))[2]  # Airflow has another run
    newer = world.open_sync("tuesday")
    world.rows("UPDATE amop.device_sync_run SET status = 'complete', usage_merged_at = now() WHERE id = %s", newer)
    status, _, error = run(capsys, "runs", "resume", str(run_id))
    assert (status, f"cannot be resumed: run {newer} was opened later and has merged" in error) == (1, True)
    world.rows("UPDATE amop.device_sync_run SET status = 'failed', usage_merged_at = null WHERE id = %s", newer)
    world.rows("UPDATE amop.device_sync_run SET dag_id = 'device_notification' WHERE id = %s", run_id)
    assert "clear cleanup.wait_for_staging of its DAG run" in run(capsys, "runs", "resume", str(run_id))[2]
    world.rows("UPDATE amop.device_sync_run SET dag_id = 'device_sync_jasper' WHERE id = %s", run_id)
    world.rows("UPDATE amop.device_sync_run SET staging_removed_at = now() WHERE id = %s", run_id)
    status, _, error = run(capsys, "runs", "resume", str(run_id))
    assert (status, "its staging has expired. Trigger a new run" in error) == (1, True)
    world.rows("UPDATE amop.device_sync_run SET status = 'complete' WHERE id = %s", run_id)
    status, output, _ = run(capsys, "runs", "resume", str(run_id))
    assert (status, "already complete, nothing to do" in output) == (0, True)
    status, _, error = run(capsys, "runs", "resume", "99")
    assert (status, error) == (2, "amop: no such device sync run: 99; see `bin/amop runs list`\n")
    assert airflow.cleared == []


def test_a_run_is_listed_shown_and_ended_with_its_session(
    world: WatchdogWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_sync()
    (listed,) = json.loads(run(capsys, "runs", "list", "--json")[1])
    assert (listed["id"], listed["status"], listed["work_rows_left"]) == (run_id, "running", 0)
    assert json.loads(run(capsys, "runs", "list", "--provider", "2", "--json")[1]) == []
    assert "AT&T Control Center" in run(capsys, "runs", "list")[1]
    assert "monday" in run(capsys, "runs", "show", str(run_id))[1]
    assert run(capsys, "runs", "end", str(run_id), "--reason", "killed at night")[0] == 0
    assert (world.run(run_id)["status"], world.run(run_id)["error"]) == ("failed", "killed at night")
    assert world.reported(world.session_of(run_id)["id"]) == [0, "killed at night"]
    assert "has ended already: it is failed" in run(capsys, "runs", "end", str(run_id))[2]


def test_a_session_is_listed_shown_and_cancelled_with_one_error_for_amop(
    world: WatchdogWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
    (listed,) = json.loads(run(capsys, "sessions", "list", "--json")[1])
    assert (listed["id"], listed["status"], listed["undelivered_messages"]) == (session_id, "running", 1)
    shown = run(capsys, "sessions", "show", str(session_id))[1]
    assert "device_sync_jasper/monday" in shown and shown.startswith(f"Optimization session {session_id}")
    assert run(capsys, "sessions", "cancel", str(session_id), "--reason", "wrong prices")[0] == 0
    assert world.session_of(run_id)["status"] == "cancelled"
    assert world.reported(session_id) == [0, "wrong prices"]
    status, _, error = run(capsys, "sessions", "cancel", str(session_id))
    assert (status, "has ended already: it is cancelled" in error) == (1, True)
    assert world.reported(session_id) == [0, "wrong prices"]


def test_refused_messages_are_listed_and_sent_again(world: WatchdogWorld, capsys: pytest.CaptureFixture[str]) -> None:
    session_id = world.session_of(world.open_sync())["id"]
    world.rows("UPDATE amop.amop_outbox SET state = 'dead', attempts = 4, last_error = 'AMOP returned 422'")
    (message,) = json.loads(run(capsys, "messages", "list", "--json")[1])["messages"]
    assert (message["session_id"], message["state"], message["last_error"]) == (session_id, "dead", "AMOP returned 422")
    assert "1 message is sent again" in run(capsys, "messages", "resend", "--session", str(session_id))[1]
    assert "0 messages are sent again" in run(capsys, "messages", "resend", "--key", message["dedupe_key"])[1]
    assert world.rows("SELECT state, attempts FROM amop.amop_outbox") == [{"state": "pending", "attempts": 0}]
    assert run(capsys, "messages", "resend")[0] == 2


def test_a_failing_carrier_is_listed_and_probed_at_once(
    world: WatchdogWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.rows(
        "INSERT INTO amop.carrier_api_user (api_user, account, failures, failing_since, open_until, last_failure)"
        " VALUES ('a1', 'POD19 (connection carrier_pod19)', 4, %s, %s, '503'), ('b2', NULL, 0, NULL, NULL, NULL)",
        NOW, NOW,
    )  # fmt: skip
    (failing,) = json.loads(run(capsys, "carriers", "list", "--json")[1])
    assert (failing["api_user"], failing["failures"], failing["last_failure"]) == ("a1", 4, "503")
    assert failing["account"] == "POD19 (connection carrier_pod19)"
    listed = run(capsys, "carriers", "list")[1]
    assert "POD19 (connection carrier_pod19)" in listed and "a1" not in listed
    assert run(capsys, "carriers", "probe")[1].startswith("1 API user may call its carrier again now")
    assert world.rows("SELECT open_until FROM amop.carrier_api_user WHERE api_user = 'a1'") == [{"open_until": None}]


def test_the_billing_periods_of_a_provider_are_listed(world: WatchdogWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.open_sync()
    (period,) = json.loads(run(capsys, "periods", "list", "--provider", "1", "--json")[1])
    assert (period["bill_year"], period["bill_month"]) == (2026, 12)


def test_without_airflows_address_a_run_is_not_resumed_and_the_setting_is_named(
    world: WatchdogWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (ids.AIRFLOW_URL_SETTING, "AIRFLOW__API__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    run_id = world.open_sync()
    fail(world, run_id)
    status, _, error = run(capsys, "runs", "resume", str(run_id))
    assert (status, f"set {ids.AIRFLOW_URL_SETTING}" in error) == (1, True)


def test_a_session_begins_with_its_error_and_with_what_stopped_its_plan_changes(
    world: WatchdogWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
    world.rows("UPDATE amop.optimization_session SET status = 'failed', error = 'no proof', ended_at = now()")
    world.rows(
        "INSERT INTO amop.optimization_instance (session_id, changes_status, changes_reason, applied_plan_count)"
        " VALUES (%s, 'stopped', 'the carrier refused the login (401)', 2)",
        session_id,
    )
    assert run(capsys, "sessions", "show", str(session_id))[1].splitlines()[:3] == [
        "Failed: no proof",
        "Plan changes stopped: the carrier refused the login (401)",
        "2 SIMs are on the plan that was applied since the last list of devices: the saving starts from it.",
    ]


@pytest.mark.parametrize("arguments", [["sessions", "show", "\uff11"], ["runs", "list", "--provider=\u0661"]])
def test_numbers_in_other_digits_are_refused(
    world: WatchdogWorld, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    status, out, error = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "a number must be written with the digits 0 to 9" in error
