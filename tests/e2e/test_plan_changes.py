"""Plan changes on the real scheduler, beyond the demo: a withdrawn approval request and a rejection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from amop import ids
from sandbox.carrier.catalogue import PROVIDERS_APPLYING_CHANGES
from sandbox.demo.approvals import wait_for_approval
from sandbox.demo.plan_changes import enabled_plan_changes, latest_changes
from sandbox.world.airflow_api import ENDED, AirflowApi, AirflowApiError
from sandbox.world.billing_period_shift import extend_open_periods
from sandbox.world.lifecycle import amop_command
from sandbox.world.world import World
from tests.worlds.e2e_world import ON_THE_WORLD, carrier_stats, wait_for_runs, wait_until

pytestmark = ON_THE_WORLD

POD19, ROGERS = 2, 4
OPTIMIZATION = "carrier_optimization_rogers"
SECONDS = 420


@pytest.fixture(scope="module", autouse=True)
def changes_are_applied(world: World, api: AirflowApi) -> Iterator[None]:
    """Sync two providers whose plan changes are applied while the tests of this module run."""
    with enabled_plan_changes(world):
        syncs = [ids.device_sync_dag(name) for name in ("pod19", "rogers")]
        api.wait_for_dags({*syncs, OPTIMIZATION, "carrier_optimization_pod19"})
        with psycopg.connect(world.warehouse_dsn(), row_factory=dict_row, autocommit=True) as connection:
            extend_open_periods(connection, PROVIDERS_APPLYING_CHANGES)
        runs = {dag_id: api.trigger(dag_id, {"optimization": "never"}) for dag_id in syncs}
        assert set(wait_for_runs(api, runs).values()) == {"success"}
        yield


@pytest.fixture
def warehouse(world: World) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(world.warehouse_dsn(), row_factory=dict_row, autocommit=True) as connection:
        yield connection


def until(condition: Callable[[], Any], what: str) -> None:
    wait_until(condition, what, seconds=SECONDS)


def writes(world: World, account: str) -> int:
    """Return the write requests that the carrier has received from an account."""
    return int(carrier_stats(world, account)["calls_by_endpoint"].get("PUT /devices/{iccid}", 0))


def answer_of(api: AirflowApi, run_id: str) -> dict[str, Any]:
    """Return Airflow's record of the question of a run."""
    path = f"/dags/{OPTIMIZATION}/dagRuns/{run_id}/taskInstances/{ids.APPROVE_CHANGES_TASK}/-1/hitlDetails"
    return api.request("GET", path)


def test_a_newer_optimization_takes_an_older_question_back_and_only_its_own_changes_are_applied(
    world: World, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> None:
    stale_run = api.trigger(OPTIMIZATION, {"service_provider_id": ROGERS})
    question = wait_for_approval(api, OPTIMIZATION, seconds=SECONDS)
    assert question["task_instance"]["state"] == "deferred"  # it occupies no worker
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
    assert re.search(r"from\s+to\s+SIMs\s+cost now\s+new cost\s+saves", shown.stdout), "a table, not its Markdown"
    approved = amop_command(world, "approvals", "approve", newer_run, "--comment", "seen by the desk")
    assert approved.returncode == 0, approved.stderr
    again = amop_command(world, "approvals", "approve", newer_run)
    assert again.returncode == 1 and f"no approval request of run '{newer_run}' is pending" in again.stderr
    until(lambda: api.run_state(OPTIMIZATION, newer_run) in ENDED, "the changes")
    assert api.run_state(OPTIMIZATION, newer_run) == "success"
    states = warehouse.execute(
        "SELECT instance_id, state, decided_by, count(*) AS n FROM amop.rate_plan_change"
        " WHERE instance_id = ANY(%s) GROUP BY 1, 2, 3 ORDER BY 1",
        ([stale["id"], latest["instance_id"]],),
    ).fetchall()
    assert [(row["instance_id"], row["state"]) for row in states] == [
        (stale["id"], "rejected"),
        (latest["instance_id"], "applied"),
    ]
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
