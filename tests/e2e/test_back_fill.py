"""A back-fill of 30 days on the real scheduler, from the archive in S3."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from amop import ids
from amop.database.migrations import migrate
from sandbox.carrier.running import running_carrier
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.aws_resources import ARCHIVE_PATH
from sandbox.world.world import World
from tests.worlds.archive_world import HISTORY, USAGE, ArchiveWorld
from tests.worlds.e2e_world import ON_THE_WORLD, SIMS, launch, rows, wait_for_runs, wait_until
from tests.worlds.moments import machine_time
from tests.worlds.reliability import RecordFault

pytestmark = ON_THE_WORLD

DAG = "device_sync_jasper"
DAYS = 30
SECONDS_FOR_THE_BACK_FILL = 600
OF_JASPER = "WHERE device.service_provider_id = 1 ORDER"
REPLAYED = "SELECT * FROM amop.device_sync_run WHERE replayed_run_id IS NOT NULL"
FIRST_LIVE_DAY = """
SELECT min((usage_as_of AT TIME ZONE 'America/New_York')::date) AS day
FROM amop.device_sync_run WHERE service_provider_id = 1 AND status = 'complete' AND replayed_run_id IS NULL
"""


@pytest.fixture(scope="module")
def days() -> list[date]:
    # The last one is the day of the latest logical date: its live syncs ran in this world, minutes ago.
    last = (machine_time() - timedelta(hours=4)).date()
    return [last - timedelta(days=number) for number in reversed(range(DAYS))]


@pytest.fixture(scope="module")
def missing(days: list[date]) -> date:
    """The day that nothing was archived of."""
    return days[11]


@pytest.fixture(scope="module")
def past(world: World, days: list[date], missing: date, tmp_path_factory: pytest.TempPathFactory) -> ArchiveWorld:
    """A warehouse that was synced live on every past day but one, and archived to the world's S3."""
    name = "past"
    world.postgres().create_database(name)
    dsn = world.postgres().conninfo(name)
    migrate(dsn)
    past: ArchiveWorld | None = None
    with pytest.MonkeyPatch.context() as patch:
        # A connection of its own: this process may have used aws_default for another test's AWS.
        patch.setenv("AIRFLOW_CONN_AWS_OF_THE_WORLD", world.environment()["AIRFLOW_CONN_AWS_DEFAULT"])
        archive = ObjectStoragePath(ARCHIVE_PATH.replace("aws_default", "aws_of_the_world"))
        for day in days[:-1]:
            moment = datetime(day.year, day.month, day.day, 15, tzinfo=UTC)
            if day == missing:
                continue
            with running_carrier(
                devices_per_account=SIMS, accounts=("jasper",), as_of=moment, limits_are_enforced=False
            ) as carrier:
                past = past or ArchiveWorld(dsn, carrier, tmp_path_factory.mktemp("past"))
                past.carrier, past.archive = carrier, archive
                past.live(moment)
    assert past is not None
    return past


def create_by_command(world: World, days: list[date]) -> None:
    created = launch(
        world.directory,
        "airflow",
        "backfill",
        "create",
        "--dag-id",
        DAG,
        "--from-date",
        days[0].isoformat(),
        "--to-date",
        (days[-1] + timedelta(days=1)).isoformat(),
        "--max-active-runs",
        "8",
    )
    assert created.returncode == 0, created.stdout + created.stderr


def create_again(api: AirflowApi, days: list[date], **conf: Any) -> None:
    body = {
        "dag_run_conf": conf,
        "dag_id": DAG,
        "from_date": f"{days[0].isoformat()}T00:00:00Z",
        "to_date": f"{days[-1] + timedelta(days=1)}T00:00:00Z",
        "reprocess_behavior": "completed",
        "max_active_runs": 8,
    }
    api.request("POST", "/backfills", body)


def states_when_complete(api: AirflowApi) -> dict[str, str]:
    """Wait until Airflow calls the DAG's back-fill complete; return the state of every back-fill run."""

    def is_complete() -> bool:
        entries = api.request("GET", f"/backfills?dag_id={DAG}")["backfills"]
        return all(entry["completed_at"] is not None for entry in entries)

    wait_until(is_complete, "the back-fill", seconds=SECONDS_FOR_THE_BACK_FILL)
    runs = api.request("GET", f"/dags/{DAG}/dagRuns?limit=100")["dag_runs"]
    return {run["dag_run_id"]: run["state"] for run in runs if run["run_type"] == "backfill"}


def sync_live_unless_done(world: World, api: AirflowApi) -> None:
    """Let the last of the days have a live sync."""
    if not rows(world, "SELECT 1 FROM amop.device_sync_run WHERE service_provider_id = 1 AND status = 'complete'"):
        wait_for_runs(api, {DAG: api.trigger(DAG, {"optimization": "never"})})


def of_days(usage: list[dict[str, Any]], days: list[date]) -> list[dict[str, Any]]:
    """Return the rows of these days."""
    return [row for row in usage if row["usage_date"] in days]


def state_by_day(history: list[dict[str, Any]], days: list[date]) -> dict[tuple[str, date], tuple[Any, ...]]:
    """Return what every SIM was on every day."""
    state: dict[tuple[str, date], tuple[Any, ...]] = {}
    for row in history:
        for day in days:
            if day >= row["valid_from"]:
                state[row["iccid"], day] = (row["status"], row["rate_plan"], row["communication_plan"])
    return state


def test_thirty_days_are_replayed_into_history_and_nothing_else(
    world: World, past: ArchiveWorld, days: list[date], missing: date, reliability: RecordFault
) -> None:
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({DAG})
    sync_live_unless_done(world, api)
    untouched = (
        "SELECT id, xmin::text FROM amop.device ORDER BY id",
        "SELECT id, xmin::text FROM amop.amop_outbox ORDER BY id",
        "SELECT id, xmin::text FROM amop.optimization_session ORDER BY id",
    )
    before = [rows(world, statement) for statement in untouched]
    begun = time.monotonic()
    create_by_command(world, days)
    states = states_when_complete(api)
    seconds = time.monotonic() - begun
    assert Counter(states.values()) == {"success": DAYS}
    ended = Counter((task["task_id"], task["state"]) for run_id in states for task in api.task_instances(DAG, run_id))
    assert (ended["replay_archive", "success"], ended["replay_archive", "skipped"]) == (DAYS - 1, 1)
    assert {state for (task_id, state) in ended if "." in task_id or task_id.startswith("optimize")} == {"skipped"}
    (skipped,) = [
        run_id
        for run_id in states
        for task in api.task_instances(DAG, run_id)
        if (task["task_id"], task["state"]) == ("replay_archive", "skipped")
    ]
    assert missing.isoformat() in skipped

    replayed = rows(world, REPLAYED)
    assert {run["status"] for run in replayed} == {"complete"}
    assert len({run["dag_run_id"].partition("#")[0] for run in replayed}) == DAYS - 1
    assert [rows(world, statement) for statement in untouched] == before
    live_from = rows(world, FIRST_LIVE_DAY)[0]["day"]
    past_days = [day for day in days if day < live_from]
    assert of_days(rows(world, OF_JASPER.join(USAGE.split("ORDER"))), past_days) == of_days(past.usage(), past_days)
    expected = state_by_day(past.history(), past_days)
    assert state_by_day(rows(world, OF_JASPER.join(HISTORY.split("ORDER"))), past_days) == expected
    assert len(expected) > SIMS * (DAYS - 3)
    wrong = rows(
        world,
        "SELECT device.iccid FROM amop.device_usage AS daily"
        " INNER JOIN amop.device AS device ON daily.device_id = device.id AND device.service_provider_id = 1"
        " WHERE daily.billing_period_id = device.billing_period_id GROUP BY device.id"
        " HAVING sum(daily.data_usage) <> max(device.ctd_data_usage)",
    )
    assert wrong == []
    reliability(
        fault="back-fill of 30 days, one without an archive",
        injected=DAYS,
        expected=f"{DAYS - 1} days in history as they were live, 1 skipped, 0 SIMs, messages or sessions touched",
        seen=f"{ended['replay_archive', 'success']} days, {ended['replay_archive', 'skipped']} skipped, "
        f"{len(wrong)} SIMs whose days do not add up, {seconds:.0f} s",
    )


def test_a_second_back_fill_of_the_same_days_changes_nothing(
    world: World, past: ArchiveWorld, days: list[date]
) -> None:
    versions = (
        "SELECT device_id, valid_from, xmin::text FROM amop.device_history ORDER BY 1, 2",
        "SELECT device_id, usage_date, xmin::text FROM amop.device_usage ORDER BY 1, 2",
    )
    before = [rows(world, statement) for statement in versions]
    again = days[-3:]
    api = AirflowApi(world.ui_address)
    create_again(api, again)
    assert Counter(states_when_complete(api).values()) == {"success": DAYS}
    attempts = rows(world, "SELECT attempt FROM amop.device_sync_run WHERE replayed_run_id IS NOT NULL AND attempt > 1")
    assert len(attempts) >= len(again)
    assert [rows(world, statement) for statement in versions] == before


def test_a_back_fill_that_is_asked_to_tells_amop_and_optimizes_the_period_of_its_day(
    world: World, days: list[date]
) -> None:
    api = AirflowApi(world.ui_address)
    optimization_dag = ids.carrier_optimization_dag("jasper")
    api.wait_for_dags({DAG, optimization_dag})
    sync_live_unless_done(world, api)
    notices = "SELECT id FROM amop.amop_outbox WHERE kind = 'daily_sync'"
    before = len(rows(world, notices))
    create_again(api, days[-1:], optimization="always", notify_amop_of_back_fill=True)
    assert set(states_when_complete(api).values()) == {"success"}
    # Not the latest row: eight runs of the first back-fill were active at once, so ids are not in the order of days.
    of_the_day = f"{REPLAYED} AND dag_run_id LIKE %s ORDER BY id DESC LIMIT 1"
    (replayed,) = rows(world, of_the_day, f"backfill\\_\\_{days[-1]}%")
    run_id = ids.replay_optimization_run_id(replayed["id"])
    assert wait_for_runs(api, {optimization_dag: run_id}) == {optimization_dag: "success"}
    (session,) = rows(
        world, "SELECT * FROM amop.optimization_session WHERE service_provider_id = 1 ORDER BY id DESC LIMIT 1"
    )
    assert (session["billing_period_id"], session["progress"]) == (replayed["billing_period_id"], 100)
    assert len(rows(world, notices)) == before + 1
