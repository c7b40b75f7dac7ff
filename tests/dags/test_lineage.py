"""Lineage from the carrier's device list to its plan changes: inlets and outlets, and the rows of each event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select

from amop import ids
from tests.dags.optimization.test_optimization_dag_runs import optimize
from tests.worlds.dag_world import SIMS, Day

GOLDEN = Path(__file__).with_name("lineage.json")
DAGS = (ids.device_sync_dag("jasper"), ids.carrier_optimization_dag("jasper"))


def test_the_lineage_of_an_integration_is_that_of_the_golden_file(dags: dict[str, Any]) -> None:
    found = [
        {
            "dag": dag_id,
            "task": task.task_id,
            "inlets": [asset.name for asset in task.inlets],
            "outlets": [asset.name for asset in task.outlets],
        }
        for dag_id in DAGS
        for task in dags[dag_id].topological_sort()
        if task.inlets or task.outlets
    ]
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_asset_that_a_task_reads_is_written_by_one_before_it_but_the_carriers_list() -> None:
    written = {ids.carrier_list_asset("jasper")}
    for step in json.loads(GOLDEN.read_text(encoding="utf-8")):
        assert set(step["inlets"]) <= written, step
        written |= set(step["outlets"])
    assert ids.carrier_plans_asset("jasper") in written


def test_the_events_of_a_day_carry_its_runs_and_their_rows(day: Day) -> None:
    last = last_event()
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    (synced,) = day.rows("SELECT * FROM amop.device_sync_run")
    (applied,) = day.rows("SELECT count(*) AS count FROM amop.rate_plan_change WHERE state = 'applied'")
    events = {(event.source_task_id, event.asset.name): event.extra for event in events_after(last) if event.extra}

    of_run = {"run_id": synced["id"], "service_provider_id": 1}
    staging, devices = ids.staging_asset("jasper"), ids.devices_asset("jasper")
    assert events["sync.fetch_devices", staging] == {"rows": SIMS, **of_run}
    usage = events["sync.fetch_usage", staging]
    assert usage == {"rows": synced["work_rows_queued"], "calls": usage["calls"], **of_run}
    assert 0 < usage["calls"] <= usage["rows"]
    assert events["cleanup.notify_amop", devices] == {
        "rows": SIMS,
        "inserted": SIMS,
        "updated": synced["devices_updated"],
        "usage_updated": synced["usage_updated"],
        **of_run,
    }
    results, plans = ids.optimization_results_asset("jasper"), ids.carrier_plans_asset("jasper")
    published = events["publish_report", results]
    assert (published["rows"], published["instance_id"]) == (instance["device_count"], instance["id"])
    assert published["changes"] == applied["count"] > 0
    of_instance = {"instance_id": instance["id"], "session_id": instance["session_id"]}
    assert events["apply_changes", plans] == {"rows": applied["count"], "applied": applied["count"], **of_instance}
    assert events["apply_changes", results] == events["apply_changes", plans]


def last_event() -> int:
    with create_session() as session:
        return int(session.scalar(select(AssetEvent.id).order_by(AssetEvent.id.desc()).limit(1)) or 0)


def events_after(last: int) -> list[Any]:
    with create_session() as session:
        events = list(session.scalars(select(AssetEvent).where(AssetEvent.id > last)))
        for event in events:
            assert event.asset.name
        return events
