"""Plan changes on the real scheduler, beyond what the demo shows: a question taken back, and a rejection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from amop import ids
from sandbox.airflow_api import ENDED, AirflowApi, AirflowApiError
from sandbox.billing_periods import leave_time_in_the_periods
from sandbox.catalogue import PROVIDERS_THAT_APPLY
from sandbox.environment import World
from sandbox.plan_changes import amop_command, latest_changes, let_changes_be_applied, wait_for_approval

pytestmark = [pytest.mark.xdist_group("world"), pytest.mark.timeout(1500)]  # one world at a time, on one worker

SIMS = 60
POD19, ROGERS = 2, 4
OPTIMIZATION = "carrier_optimization_rogers"
SECONDS = 420


@pytest.fixture(scope="module")
def api(world: World) -> AirflowApi:
    """Airflow, with two providers synced and their plan changes applied from now on."""
    let_changes_be_applied(world)
    made = AirflowApi(world.ui_address)
    syncs = [ids.device_sync_dag(name) for name in ("pod19", "rogers")]
    made.wait_for_dags({*syncs, OPTIMIZATION, "carrier_optimization_pod19"})
    with psycopg.connect(world.warehouse_dsn(), row_factory=dict_row, autocommit=True) as connection:
        leave_time_in_the_periods(connection, PROVIDERS_THAT_APPLY)
    runs = {dag_id: made.trigger(dag_id, {"optimization": "never"}) for dag_id in syncs}
    until(lambda: all(made.run_state(*run) in ENDED for run in runs.items()), "the syncs")
    assert {made.run_state(*run) for run in runs.items()} == {"success"}
    return made


@pytest.fixture
def warehouse(world: World) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(world.warehouse_dsn(), row_factory=dict_row, autocommit=True) as connection:
        yield connection


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}"
        time.sleep(0.5)


def writes(world: World, account: str) -> int:
    """Return the write requests that the carrier has got from an account, which has never been over its limits."""
    session = requests.Session()
    session.trust_env = False
    stats = session.get(f"{world.carrier_address}/sandbox/stats", timeout=10).json()
    assert stats["violations"] == 0
    return int(stats["accounts"][account]["calls_by_endpoint"].get("PUT /devices/{iccid}", 0))


def answer_of(api: AirflowApi, run_id: str) -> dict[str, Any]:
    """Return Airflow's record of the question of a run."""
    path = f"/dags/{OPTIMIZATION}/dagRuns/{run_id}/taskInstances/{ids.APPROVE_CHANGES_TASK}/-1/hitlDetails"
    return api.request("GET", path)


def test_a_newer_optimization_takes_an_older_question_back_and_only_its_own_changes_are_applied(
    world: World, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> None:
    stale_run = api.trigger(OPTIMIZATION, {"service_provider_id": ROGERS})
    question = wait_for_approval(api, OPTIMIZATION, seconds=SECONDS)
    assert question["task_instance"]["state"] == "deferred"  # nobody waits in a worker
    assert "| saved by the changes |" in question["body"] and "Rogers Control Center" in question["subject"]

    newer_run = api.trigger(OPTIMIZATION, {"service_provider_id": ROGERS})
    newer = wait_for_approval(api, OPTIMIZATION, except_runs=[stale_run], seconds=SECONDS)
    assert newer["task_instance"]["dag_run_id"] == newer_run
    until(lambda: api.run_state(OPTIMIZATION, stale_run) == "success", "the stale run")
    latest = latest_changes(warehouse)[ROGERS]
    reason = f"superseded by instance {latest['instance_id']} of the same provider"
    stale = warehouse.execute(
        "SELECT id, changes_status, changes_reason FROM amop.optimization_instance WHERE changes_planned_by = %s",
        (f"{OPTIMIZATION}/{stale_run}",),
    ).fetchone()
    assert stale is not None
    assert (stale["changes_status"], stale["changes_reason"]) == ("superseded", reason)
    taken_back = answer_of(api, stale_run)
    assert (taken_back["chosen_options"], taken_back["responded_by_user"]) == (["Reject"], None)
    assert taken_back["params_input"] == {"comment": reason}  # what the Required Actions page shows
    tasks = {task["task_id"]: task["state"] for task in api.task_instances(OPTIMIZATION, stale_run)}
    ended = {name: tasks[name] for name in ("approve_changes", "record_approval", "apply_changes")}
    assert ended == {"approve_changes": "success", "record_approval": "success", "apply_changes": "skipped"}
    with pytest.raises(AirflowApiError, match="409"):
        api.respond(question, "Approve", comment="")

    listed = amop_command(world, "approvals", "list")
    assert listed.returncode == 0, listed.stderr
    assert f"{OPTIMIZATION}/{newer_run}" in listed.stdout and stale_run not in listed.stdout
    shown = amop_command(world, "approvals", "show", newer_run)
    assert "| from | to | SIMs | cost now | cost then | saves |" in shown.stdout
    approved = amop_command(world, "approvals", "approve", newer_run, "--comment", "seen by the desk")
    assert approved.returncode == 0, approved.stderr
    again = amop_command(world, "approvals", "approve", newer_run)
    assert again.returncode == 1 and f"no approval of run '{newer_run}' waits" in again.stderr
    until(lambda: api.run_state(OPTIMIZATION, newer_run) in ENDED, "the changes")
    assert api.run_state(OPTIMIZATION, newer_run) == "success"
    states = warehouse.execute(
        "SELECT instance_id, state, decided_by, count(*) AS n FROM amop.rate_plan_change"
        " WHERE instance_id = ANY(%s) GROUP BY 1, 2, 3 ORDER BY 1",
        ([stale["id"], latest["instance_id"]],),
    ).fetchall()
    assert [(row["instance_id"], row["state"]) for row in states] == [
        (stale["id"], "rejected"), (latest["instance_id"], "applied"),
    ]  # fmt: skip
    assert states[0]["decided_by"] == "amop" != states[1]["decided_by"]
    assert writes(world, "api_rogers") == states[1]["n"] == latest["changes"] > 0


def test_a_rejection_from_the_command_line_sends_nothing(
    world: World, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> None:
    warehouse.execute(
        "UPDATE amop.service_provider SET approval_above_changes = 0, write_is_enabled = true WHERE id = %s", (POD19,)
    )
    run = api.trigger("carrier_optimization_pod19", {"service_provider_id": POD19})
    wait_for_approval(api, "carrier_optimization_pod19", seconds=SECONDS)
    rejected = amop_command(world, "approvals", "reject", f"carrier_optimization_pod19/{run}", "--comment", "not today")
    assert rejected.returncode == 0, rejected.stderr
    until(lambda: api.run_state("carrier_optimization_pod19", run) in ENDED, "the rejected run")
    assert api.run_state("carrier_optimization_pod19", run) == "success"
    row = latest_changes(warehouse)[POD19]
    assert row["changes_status"] == "rejected" and row["changes_reason"].endswith(": not today")
    assert writes(world, "api_pod19") == 0
