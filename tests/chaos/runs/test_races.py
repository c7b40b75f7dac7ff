"""Fifty races with different interleavings: one effect, and the loser waits or ends with a clear message.

Every pair of processes that can run concurrently does so here, statement by statement (`tests.worlds.interleaving`).
The rows that they leave are compared with those of a single process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from amop.database.connection import transaction
from amop.messages.amop_client import AmopClient
from amop.messages.outbox import enqueue_daily_sync_notice
from amop.optimization.instances import OptimizationRequest, open_instance
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.progress import PROGRESS_STEPS
from amop.runs.sessions import SessionAlreadyRunningError, advance_session, open_session
from amop.runs.sync_runs import SyncBusyError, load_run
from sandbox.amop.running import running_amop
from sandbox.carrier.running import running_carrier
from tests.worlds.changes_world import NOW, ChangesWorld
from tests.worlds.interleaving import interleave
from tests.worlds.moments import present
from tests.worlds.race_world import Alone, Day, Tally
from tests.worlds.reliability import RecordFault

pytestmark = pytest.mark.xdist_group("races")

SIMS = 60
STEPS = list(PROGRESS_STEPS)
SEEDS = {"day": 12, "fetch": 8, "merge": 8, "session": 7, "optimization": 4, "relay": 6, "changes": 5}
"""Race → number of interleavings; fifty together."""

HELD = (
    r"AT&T Control Center \(1\): run \d+ is refused: Provider 1 'AT&T Control Center' is held by run \d+ of "
    r"device_sync_jasper \((one|two), running since .+ UTC\); wait for it\. A run whose process is gone "
    r"ends within minutes, on its own or with `bin/amop runs end \d+`; then trigger the sync again"
)
RUNNING_SESSION = (
    r"Optimization session \d+ of AT&T Control Center \(1\) has been running since .+ UTC, opened by \S+/\S+, "
    r"at \d+ %; wait until it has ended"
)

ENDED_INSTANCE = (
    r"AT&T Control Center \(1\): instance \d+ of session \d+ has ended \(complete_with_success, session complete\)\. "
    r"Clear open_instance with downstream tasks, which opens a new session, or trigger a new run"
)


def test_there_are_fifty_races_and_a_seed_repeats_its_order(warehouse_dsn: str) -> None:
    assert sum(SEEDS.values()) == 50

    def work() -> None:
        with transaction(warehouse_dsn) as connection:
            for number in range(10):
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (number % 3,))

    work()  # a process checks the settings of its first session
    orders = [interleave(warehouse_dsn, seed, [work, work]) for seed in (1, 1, 2)]
    assert orders[0].order == orders[1].order != orders[2].order
    assert all(race.errors == [] for race in orders)
    assert [race.waits for race in orders] == [1, 1, 1]


@pytest.fixture(scope="module")
def day(shared_warehouse_dsn: str) -> Iterator[Day]:
    with (
        running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier,
        running_amop() as amop,
        AmopClient.from_connection_fields(
            host=amop.base_url,
            schema=None,
            port=None,
            password=None,
            extra={"progress_path": amop.progress_path, "sync_path": amop.sync_path},
        ) as client,
    ):
        made = Day(shared_warehouse_dsn, carrier)
        made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 5 RETURNING id")
        made.amop, made.client_of_amop = amop, client
        yield made


@pytest.fixture(scope="module")
def alone(day: Day) -> Alone:
    """Return the rows and calls of a day that a single process ran."""
    day.reset()
    run_id = day.whole("one")()
    return Alone(day.final_state(), day.calls(), day.run(run_id)["pages"])


def test_two_runs_of_one_provider_have_one_effect(day: Day, alone: Alone, reliability: RecordFault) -> None:
    tally, rows, pages, sessions = Tally(), 0, 0, 0
    for seed in range(SEEDS["day"]):
        day.reset()
        race = interleave(day.dsn, seed, [day.whole("one"), day.whole("two")])
        tally.add(race, message=HELD)
        assert len(race.errors) == 1
        day.rows("DELETE FROM amop.device_sync_run WHERE status = 'refused' RETURNING id")
        rows += day.different_rows(alone)
        pages += day.calls() - alone.calls
        sessions += day.count("optimization_session")
        assert day.reported() == [[0, 20]]
        assert len(day.amop.messages("daily_sync")) == 1
        assert day.amop.stats()["repeats"] == 0
    assert (rows, pages, sessions) == (0, 0, tally.count)
    reliability(
        fault="two DAG runs of one provider at once, from opening the session to the last message",
        injected=tally.count,
        expected="1 session each, 0 rows differ, 0 more pages, the loser ends with a message",
        seen=f"{sessions // tally.count} session each, {rows} rows differ, {pages} more pages, {tally.losers()}",
    )


def test_two_processes_of_one_fetch_task_read_every_page_once(day: Day, alone: Alone, reliability: RecordFault) -> None:
    tally, rows, pages = Tally(), 0, 0
    for seed in range(SEEDS["fetch"]):
        day.reset()
        run_id = day.open("one", optimization="always")
        race = interleave(day.dsn, seed, [lambda: day.stage(run_id)] * 2)  # noqa: B023 it runs before the next
        tally.add(race)
        day.merge(run_id)
        rows += day.different_rows(alone)
        pages += day.calls() - alone.calls
        assert day.run(run_id)["pages"] == alone.pages
    assert (rows, pages) == (0, 0)
    reliability(
        fault="a fetch task's retry while its first process is still at work",
        injected=tally.count,
        expected="0 pages read twice, 0 rows differ, the loser waits",
        seen=f"{pages} pages read twice, {rows} rows differ, {tally.losers()}",
    )


def test_a_fetch_that_waits_too_long_names_the_other_process_and_the_next_step(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.reset()
    run_id = day.open("one")
    with transaction(day.dsn) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('amop carrier reads of run ' || %s, 0))", (run_id,))
        monkeypatch.setattr(day, "dsn", f"{day.dsn} options='-c lock_timeout=100ms'")
        with pytest.raises(
            SyncBusyError,
            match=rf"AT&T Control Center \(1\), run {run_id}: another process is still reading this run from the "
            r"carrier \(pg_stat_activity shows it as .*\); nothing is read twice, this task tries again",
        ):
            day.stage(run_id)
    assert day.calls() == 0
    day.stage(run_id)
    assert day.run(run_id)["list_is_complete"]


def test_a_retried_fetch_of_a_complete_run_has_nothing_to_do_and_succeeds(day: Day) -> None:
    """The clean-up waits for rows, so it may end before the retry of a fetch whose first process continued."""
    day.reset()
    run_id = day.open("one")
    day.stage(run_id)
    day.merge(run_id)
    before, calls = day.final_state(), day.calls()
    day.stage(run_id)
    assert (day.final_state(), day.calls()) == (before, calls)
    assert day.run(run_id)["status"] == "complete"


def test_two_processes_of_one_clean_up_merge_once(day: Day, alone: Alone, reliability: RecordFault) -> None:
    tally, rows, notices = Tally(), 0, 0
    for seed in range(SEEDS["merge"]):
        day.reset()
        run_id = day.open("one", optimization="always")
        day.stage(run_id)
        race = interleave(day.dsn, seed, [lambda: day.merge(run_id)] * 2)  # noqa: B023
        tally.add(race, message=rf"AT&T Control Center \(1\): run {run_id} is complete; nothing is left to do, .*")
        rows += day.different_rows(alone)
        assert day.run(run_id)["status"] == "complete"
        notices += day.count("amop_outbox", "kind = 'daily_sync'")
    assert (rows, notices) == (0, tally.count)
    reliability(
        fault="two processes of one clean-up at once",
        injected=tally.count,
        expected="0 rows differ, 1 notice each, the loser waits or finds the work done",
        seen=f"{rows} rows differ, {notices // tally.count} notice each, {tally.losers()}",
    )


def test_concurrent_openers_get_one_session(
    day: Day, reliability: RecordFault, caplog: pytest.LogCaptureFixture
) -> None:
    """A daily run, a run of `optimization_window` and a manual optimization at once."""
    tally, sessions, warned, runs = Tally(), 0, 0, 0
    for seed in range(SEEDS["session"]):
        day.reset()
        caplog.clear()
        manual = OptimizationRequest("jasper", "carrier_optimization_jasper/by_hand", 1)
        works = [
            lambda: day.open("one", optimization="always"),
            lambda: day.open("two", optimization="always"),
            lambda: open_instance(day.dsn, manual, now=present())["session_id"],  # noqa: B023
        ]
        race = interleave(day.dsn, seed, works)
        tally.add(race, message=RUNNING_SESSION)
        warned += len(re.findall(rf"This run will not optimize: {RUNNING_SESSION}", caplog.text))
        sessions += day.count("optimization_session", "status = 'running'")
        runs += day.count("device_sync_run", "status = 'running'")
        assert day.count("optimization_session") == 1
        assert day.count("device_sync_run", "optimization_session_id IS NOT NULL") == len(race.errors)
        # A later opener gets none either, until the session has ended.
        with pytest.raises(SessionAlreadyRunningError, match=RUNNING_SESSION):
            open_instance(day.dsn, OptimizationRequest("jasper", "dag/later", 1), now=present())
        assert day.count("optimization_session") == 1
    assert (sessions, runs) == (tally.count, tally.count)
    assert warned + tally.messages == tally.count
    reliability(
        fault="daily run, optimization_window and an operator open a session of one provider at once",
        injected=tally.count,
        expected="1 running session and 1 running sync each; the others get the reason",
        seen=f"{sessions // tally.count} session and {runs // tally.count} sync each, "
        f"{warned + tally.messages} reasons",
    )


def test_two_processes_of_one_optimization_have_one_result(day: Day, reliability: RecordFault) -> None:
    tally, different, instances = Tally(), 0, 0
    day.reset()
    run_id = day.whole("one")()
    day.optimization(day.run(run_id)["optimization_session_id"])()
    alone, moves = day.results(), day.count("rate_plan_change")
    period = day.run(run_id)["billing_period_id"]
    assert len(alone) > SIMS / 2
    assert moves > 0
    for seed in range(SEEDS["optimization"]):
        day.delete_sessions()
        day.amop.clear_messages()
        with transaction(day.dsn) as connection:
            session = open_session(
                connection, service_provider_id=1, billing_period_id=period, opened_by=f"dag/{seed}", now=present()
            )
        race = interleave(day.dsn, seed, [day.optimization(session.id)] * 2)
        tally.add(race, message=ENDED_INSTANCE)
        different += sum(one != other for one, other in zip(day.results(), alone, strict=True))
        instances += day.count("optimization_instance")
        assert day.reported() == [STEPS]
        assert day.amop.stats()["repeats"] == 0
        assert day.count("rate_plan_change") == moves
    assert (different, instances) == (0, tally.count)
    reliability(
        fault="two processes of one session's optimization at once",
        injected=tally.count,
        expected="1 optimization run each, 0 results differ, steps reported once and in order",
        seen=f"{instances // tally.count} optimization run each, {different} results differ, {tally.losers()}",
    )


def test_three_relays_deliver_every_message_once_and_in_order(day: Day, reliability: RecordFault) -> None:
    tally, messages, repeats = Tally(), 0, 0
    for seed in range(SEEDS["relay"]):
        day.reset()
        for integration in ("jasper", "pod19", "tmobile_jasper"):
            runs = open_runs(
                day.dsn,
                SyncRequest(integration, f"device_sync_{integration}", "one", optimization="always"),
                now=present(),
            )
            with transaction(day.dsn) as connection:
                session_id = load_run(connection, runs[0].run_id).optimization_session_id
                assert session_id is not None
                advance_session(connection, session_id, 100)
                enqueue_daily_sync_notice(
                    connection, run_id=runs[0].run_id, service_provider_id=runs[0].service_provider_id
                )
        race = interleave(day.dsn, seed, [day.deliver] * 3)
        tally.add(race)
        stats = day.amop.stats()
        messages += stats["messages"]
        repeats += stats["repeats"]
        assert day.reported() == [STEPS] * 3
        assert sum(report.sent for report in race.results) == stats["messages"] == 3 * (len(STEPS) + 1)
        assert day.count("amop_outbox", "state <> 'sent'") == 0
    expected = tally.count * 3 * (len(STEPS) + 1)
    assert (messages, repeats) == (expected, 0)
    reliability(
        fault="three relays deliver the messages of three sessions at once",
        injected=tally.count,
        expected=f"{expected} messages, each once, in order within its session",
        seen=f"{messages} messages, {repeats} sent twice, 0 out of order",
    )


def test_two_workers_send_every_plan_change_once(warehouse_dsn: str, reliability: RecordFault) -> None:
    changes = 6
    tally, writes, applied = Tally(), 0, 0
    with running_carrier(
        devices_per_account=SIMS, accounts=("jasper",), as_of=NOW, limits_are_enforced=False
    ) as carrier:
        world = ChangesWorld(warehouse_dsn, carrier, approval_above_changes=None)
        for seed in range(SEEDS["changes"]):
            sims = world.sims(changes)
            instance_id = world.instance(sims)
            assert world.plan(instance_id) == "approved"
            carrier.reset_stats()
            race = interleave(world.dsn, seed, [lambda: world.apply(instance_id)] * 2)  # noqa: B023
            tally.add(race)
            plans = world.plans()
            applied += sum(plans[sim["iccid"]] == sim["target"] for sim in sims)
            assert world.calls() == {"GET": changes, "PUT": changes}
            writes += world.calls()["PUT"]
            assert race.results == [{"applied": changes}] * 2
    assert (writes, applied) == (changes * tally.count, changes * tally.count)
    reliability(
        fault="two workers apply the plan changes of one provider at once",
        injected=tally.count,
        expected=f"{changes * tally.count} changes, each written once, the loser waits",
        seen=f"{applied} changes, {writes} writes, {tally.losers()}",
    )
