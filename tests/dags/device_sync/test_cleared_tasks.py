"""Runs whose tasks an operator clears or marks, under Airflow: each ends with the rows of an undisturbed day."""

from __future__ import annotations

import psycopg
import pytest

from amop import ids
from amop.runs.opening import SyncRequest, open_runs
from tests.worlds.dag_world import SIMS, Day
from tests.worlds.moments import machine_time

MERGED = "SELECT count(*) AS n FROM amop.device"
SYNC = "device_sync_jasper"


def run_row(day: Day) -> tuple[str, int]:
    """Return status and attempt of the only sync run."""
    (run,) = day.rows("SELECT status, attempt FROM amop.device_sync_run")
    return run["status"], run["attempt"]


@pytest.mark.parametrize(
    ("cleared", "downstream"),
    [
        (["sync.fetch_devices"], True),
        (["sync.queue_sync"], True),
        (["select_providers"], True),
    ],
    ids=["fetch_devices with downstream", "queue_sync with downstream", "the whole run"],
)
def test_a_run_that_failed_for_good_is_resumed_by_what_is_cleared(
    day: Day, cleared: list[str], downstream: bool
) -> None:
    day.carrier.reject_api_key("api_jasper")
    run = day.run(SYNC, optimization="always")
    assert (run.state, run_row(day)) == ("failed", ("failed", 1))

    day.carrier.accept_api_key("api_jasper")
    day.clear(run, cleared, downstream=downstream)
    states = day.resume(run)
    assert (states[""], set(states.values()) - {"success", "skipped"}) == ("success", set()), states
    assert run_row(day) == ("complete", 2)
    assert day.rows(MERGED) == [{"n": SIMS}]
    assert len(day.amop.messages("daily_sync")) == 1
    told = sorted(day.amop.sessions().values(), key=lambda one: int(one["session_id"]))
    assert [(one["progress"], len(one["errors"])) for one in told] == [([0, 20], 1), ([0, 20], 0)]
    assert all(one["order_errors"] == [] for one in told)


def test_a_clean_up_task_that_failed_for_good_resumes_and_reads_nothing_again(day: Day) -> None:
    with psycopg.connect(day.dsn) as connection:
        connection.execute(
            "CREATE FUNCTION amop.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'disk full'; END $$"
        )
        connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON amop.device_usage EXECUTE FUNCTION amop.refuse()")
    for task in day.dags[SYNC].tasks:
        task.retries = 0  # its delays are real time
    run = day.run(SYNC, optimization="always")
    assert (run.state, run_row(day)) == ("failed", ("failed", 1))
    calls = day.carrier.stats("api_jasper")["calls"]

    with psycopg.connect(day.dsn) as connection:
        connection.execute("DROP TRIGGER refuse ON amop.device_usage")
    day.clear(run, ["cleanup.merge_usage"], downstream=True)
    states = day.resume(run)
    assert states[""] == "success", states
    assert run_row(day) == ("complete", 2)
    assert day.carrier.stats("api_jasper")["calls"] == calls
    assert len(day.amop.messages("daily_sync")) == 1


def test_a_green_run_that_is_cleared_stays_green_and_changes_nothing(
    day: Day, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = day.run(SYNC, optimization="always")
    before = day.rows("SELECT * FROM amop.device ORDER BY id"), run_row(day)
    calls = day.carrier.stats("api_jasper")["calls"]
    day.clear(run, ["select_providers"], downstream=True)
    states = day.resume(run)
    assert (states[""], set(states.values()) - {"success", "skipped"}) == ("success", set()), states
    assert (day.rows("SELECT * FROM amop.device ORDER BY id"), run_row(day)) == before
    assert day.carrier.stats("api_jasper")["calls"] == calls
    assert "is already complete, nothing to do" in caplog.text
    assert len(day.amop.messages("daily_sync")) == 1


def test_a_run_that_is_marked_in_airflow_ends_with_the_next_relay_and_frees_its_provider(day: Day) -> None:
    with psycopg.connect(day.dsn) as connection:
        run = SyncRequest("jasper", SYNC, f"marked {day.dsn}", optimization="always")
        (opened,) = open_runs(day.dsn, run, now=machine_time())
        connection.execute("INSERT INTO amop.watchdog (checked_at, watching_since) VALUES (now(), now())")
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    assert run_row(day) == ("failed", 1)
    (told,) = day.amop.sessions().values()
    assert len(told["errors"]) == 1 and f"Device sync run {opened.run_id}" in told["errors"][0]
    assert day.run(SYNC, optimization="never").state == "success"
