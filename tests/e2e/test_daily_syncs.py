"""Daily syncs on the real scheduler, beyond the cycle that the demo proves: the day after, failures, trial runs."""

from __future__ import annotations

from amop import ids
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.worlds.e2e_world import (
    ON_THE_WORLD,
    SIMS,
    launch,
    rows,
    run_of,
    sandbox_page,
    wait_for_runs,
    wait_until,
)

pytestmark = ON_THE_WORLD

JASPER, ROGERS, POD19 = (ids.device_sync_dag(name) for name in ("jasper", "rogers", "pod19"))
OPTIMIZATION_OF_ROGERS = ids.carrier_optimization_dag("rogers")
FAILURE_SECONDS = 60
"""A wrong API key is reported within a minute."""


SYNCED_TWICE = {JASPER: 1, ROGERS: 4}
"""DAG → id of its provider."""


def sync_side_by_side(api: AirflowApi) -> list[str]:
    """Sync two providers at once; return the ids of the DAG runs."""
    runs = {dag_id: api.trigger(dag_id, {"optimization": "never"}) for dag_id in SYNCED_TWICE}
    assert set(wait_for_runs(api, runs).values()) == {"success"}
    return list(runs.values())


def test_the_sync_after_a_sync_writes_no_device(world: World, api: AirflowApi) -> None:
    api.wait_for_dags(set(SYNCED_TWICE))
    sync_side_by_side(api)
    devices = "SELECT id, xmin::text, details_read_at FROM amop.device WHERE service_provider_id = ANY(%s) ORDER BY id"
    before = rows(world, devices, list(SYNCED_TWICE.values()))
    assert len(before) == SIMS * len(SYNCED_TWICE)
    dag_run_ids = sync_side_by_side(api)
    after = rows(world, devices, list(SYNCED_TWICE.values()))
    # The details of some SIMs are still being read, so many in every sync.
    known = [number for number, sim in enumerate(before) if sim["details_read_at"] is not None]
    assert len(known) > 10
    assert [after[number] for number in known] == [before[number] for number in known]
    (written,) = rows(
        world,
        "SELECT count(*) AS runs, sum(devices_updated + usage_updated) AS n FROM amop.device_sync_run"
        " WHERE dag_run_id = ANY(%s)",
        dag_run_ids,
    )
    assert written == {"runs": len(SYNCED_TWICE), "n": 0}
    assert Supervisor(world).is_running()


def test_with_a_wrong_api_key_one_provider_fails_within_a_minute_and_the_others_succeed(
    world: World, api: AirflowApi
) -> None:
    api.wait_for_dags({JASPER, ROGERS, OPTIMIZATION_OF_ROGERS})
    sandbox_page(world.carrier_address, "password", post={"account": "api_jasper", "is_wrong": True})
    try:
        runs = {dag_id: api.trigger(dag_id, {"optimization": "always"}) for dag_id in (JASPER, ROGERS)}
        failed = "SELECT 1 FROM amop.device_sync_run WHERE dag_run_id = %s AND status = 'failed'"
        wait_until(lambda: rows(world, failed, runs[JASPER]), "the failed run", seconds=FAILURE_SECONDS)
        assert wait_for_runs(api, runs) == {JASPER: "failed", ROGERS: "success"}
    finally:
        sandbox_page(world.carrier_address, "password", post={"account": "api_jasper", "is_wrong": False})
    run = run_of(world, runs[JASPER])
    assert "AT&T Control Center" in run["error"] and "connection carrier_jasper" in run["error"]
    assert run["devices_merged_at"] is None
    (session,) = rows(
        world, "SELECT session_guid::text FROM amop.optimization_session WHERE id = %s", run["optimization_session_id"]
    )

    def reported() -> dict[str, list[str]]:
        sessions: dict[str, dict[str, list[str]]] = sandbox_page(world.amop_address, "sessions")
        return sessions[session["session_guid"]]

    wait_until(lambda: reported()["errors"], "the error message", seconds=30)
    assert len(reported()["errors"]) == 1
    assert reported()["order_errors"] == []
    optimization = ids.optimization_run_id(run_of(world, runs[ROGERS])["optimization_session_id"])
    assert set(wait_for_runs(api, {OPTIMIZATION_OF_ROGERS: optimization}).values()) == {"success"}


def test_a_day_by_airflow_dags_test_beside_the_running_scheduler(world: World, api: AirflowApi) -> None:
    api.wait_for_dags({POD19})
    done = launch(world.directory, "airflow", "dags", "test", POD19, "2026-11-20")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    latest = "SELECT * FROM amop.device_sync_run WHERE service_provider_id = 2 ORDER BY id DESC LIMIT 1"
    assert rows(world, latest)[0]["status"] == "complete"
    task = launch(world.directory, "airflow", "tasks", "test", POD19, "select_providers", "2026-11-19")
    assert task.returncode == 0, task.stdout[-3000:] + task.stderr[-3000:]
    assert rows(world, latest)[0]["dag_run_id"].startswith("__airflow_temporary_run_")
    assert not api.pause(POD19, is_paused=False)
