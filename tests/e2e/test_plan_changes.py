"""Plan changes on the real scheduler: approved from the command line and through the API, superseded, confirmed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.airflow_api import ENDED, AirflowApi, AirflowApiError
from sandbox.environment import World
from sandbox.plan_changes import amop_command, latest_changes, let_changes_be_applied, wait_for_approval

pytestmark = [pytest.mark.xdist_group("world"), pytest.mark.timeout(1500)]  # one world at a time, on one worker

SIMS = 60
JASPER, POD19, TMOBILE, ROGERS = 1, 2, 3, 4
SECONDS = 420

PERIODS_WITH_TIME_LEFT = """
UPDATE amop.billing_period SET cycle_end = greatest(cycle_end, now() + interval '2 days')
WHERE cycle_start < now() RETURNING id
"""


@pytest.fixture
def api(world: World) -> AirflowApi:
    made = AirflowApi(world.ui_address)
    made.wait_for_dags({f(name) for name in INTEGRATIONS for f in (ids.device_sync_dag, ids.carrier_optimization_dag)})
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


def synced(api: AirflowApi, warehouse: psycopg.Connection[Any], optimization: str) -> None:
    """Run the daily DAG of every integration to its end; whatever day it is, time is left in the billing periods."""
    dag_ids = [ids.device_sync_dag(name) for name in INTEGRATIONS]
    runs = {dag_id: api.trigger(dag_id, {"optimization": optimization}) for dag_id in dag_ids}
    until(lambda: len(warehouse.execute(PERIODS_WITH_TIME_LEFT).fetchall()) >= len(INTEGRATIONS), "the periods")
    until(lambda: all(api.run_state(*run) in ENDED for run in runs.items()), "the syncs")
    assert {api.run_state(*run) for run in runs.items()} == {"success"}


def carrier_calls(world: World) -> dict[str, Any]:
    session = requests.Session()
    session.trust_env = False
    stats: dict[str, Any] = session.get(f"{world.carrier_address}/sandbox/stats", timeout=10).json()
    return stats


def puts(account: dict[str, Any]) -> int:
    return int(account["calls_by_endpoint"].get("PUT /devices/{iccid}", 0))


def test_two_are_asked_one_goes_on_by_itself_one_may_not_write_and_the_next_sync_confirms(
    world: World, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> None:
    let_changes_be_applied(world)
    synced(api, warehouse, "always")

    jasper = wait_for_approval(api, "carrier_optimization_jasper", seconds=SECONDS)
    rogers = wait_for_approval(api, "carrier_optimization_rogers", seconds=SECONDS)
    assert rogers["task_instance"]["state"] == "deferred"  # nobody waits in a worker
    assert "| saved by the changes |" in rogers["body"] and "Rogers Control Center" in rogers["subject"]
    stale_run = rogers["task_instance"]["dag_run_id"]

    # A newer optimization takes the question back, and asks anew.
    newer_run = api.trigger("carrier_optimization_rogers", {"service_provider_id": ROGERS})
    rogers = wait_for_approval(api, "carrier_optimization_rogers", except_runs=[stale_run], seconds=SECONDS)
    assert rogers["task_instance"]["dag_run_id"] == newer_run
    until(lambda: api.run_state("carrier_optimization_rogers", stale_run) == "success", "the stale run")
    stale = warehouse.execute(
        "SELECT changes_status, changes_reason FROM amop.optimization_instance WHERE changes_planned_by = %s",
        (f"carrier_optimization_rogers/{stale_run}",),
    ).fetchone()
    assert stale is not None and stale["changes_status"] == "superseded"
    tasks = {task["task_id"]: task["state"] for task in api.task_instances("carrier_optimization_rogers", stale_run)}
    ended = {name: tasks[name] for name in ("approve_changes", "record_approval", "apply_changes")}
    assert ended == {"approve_changes": "success", "record_approval": "success", "apply_changes": "skipped"}
    with pytest.raises(AirflowApiError, match="409"):
        api.respond({"task_instance": dict(rogers["task_instance"], dag_run_id=stale_run)}, "Approve", comment="")

    # One answer from the command line, one as the UI gives it.
    run = jasper["task_instance"]["dag_run_id"]
    listed = amop_command(world, "approvals", "list")
    assert listed.returncode == 0, listed.stderr
    assert f"carrier_optimization_jasper/{run}" in listed.stdout and newer_run in listed.stdout
    assert stale_run not in listed.stdout
    shown = amop_command(world, "approvals", "show", run)
    assert "| from | to | SIMs | cost now | cost then | saves |" in shown.stdout
    approved = amop_command(world, "approvals", "approve", run, "--comment", "seen by the desk")
    assert approved.returncode == 0, approved.stderr
    again = amop_command(world, "approvals", "approve", run)
    assert again.returncode == 1 and f"no approval of run '{run}' waits" in again.stderr
    api.respond(rogers, "Approve", comment="")

    runs = {"carrier_optimization_jasper": run, "carrier_optimization_rogers": newer_run}
    until(lambda: all(api.run_state(*item) in ENDED for item in runs.items()), "the changes")
    assert {api.run_state(*item) for item in runs.items()} == {"success"}
    until(lambda: latest_changes(warehouse)[TMOBILE]["changes_status"] == "applied", "T-Mobile's changes")
    latest = latest_changes(warehouse)
    assert {provider: row["changes_status"] for provider, row in latest.items()} == {
        JASPER: "applied", POD19: "proposed_only", TMOBILE: "applied", ROGERS: "applied",
    }  # fmt: skip
    assert latest[TMOBILE]["changes_decided_by"] == "amop" != latest[JASPER]["changes_decided_by"]
    (decided,) = warehouse.execute(
        "SELECT DISTINCT state, decided_by FROM amop.rate_plan_change WHERE instance_id = %s",
        (latest[JASPER]["instance_id"],),
    ).fetchall()
    assert decided == {"state": "applied", "decided_by": latest[JASPER]["changes_decided_by"]}

    stats = carrier_calls(world)
    writes = {name: puts(account) for name, account in stats["accounts"].items()}
    assert writes == {
        "api_jasper": latest[JASPER]["changes"], "api_pod19": 0, "api_tmobile_jasper": latest[TMOBILE]["changes"],
        "api_rogers": latest[ROGERS]["changes"],
    }  # fmt: skip
    assert stats["violations"] == 0

    synced(api, warehouse, "never")
    for provider, row in latest_changes(warehouse).items():
        assert row["confirmed"] == row["applied"] == (0 if provider == POD19 else row["changes"]), row["name"]
        assert row["changes"] > 0


def test_a_rejection_from_the_command_line_sends_nothing(
    world: World, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> None:
    let_changes_be_applied(world)
    warehouse.execute(
        "UPDATE amop.service_provider SET approval_above_changes = 0, write_is_enabled = true WHERE id = %s", (POD19,)
    )
    synced(api, warehouse, "never")
    before = puts(carrier_calls(world)["accounts"]["api_pod19"])
    run = api.trigger("carrier_optimization_pod19", {"service_provider_id": POD19})
    wait_for_approval(api, "carrier_optimization_pod19", seconds=SECONDS)
    rejected = amop_command(world, "approvals", "reject", f"carrier_optimization_pod19/{run}", "--comment", "not today")
    assert rejected.returncode == 0, rejected.stderr
    until(lambda: api.run_state("carrier_optimization_pod19", run) in ENDED, "the rejected run")
    assert api.run_state("carrier_optimization_pod19", run) == "success"
    row = latest_changes(warehouse)[POD19]
    assert row["changes_status"] == "rejected" and row["changes_reason"].endswith(": not today")
    assert puts(carrier_calls(world)["accounts"]["api_pod19"]) == before
