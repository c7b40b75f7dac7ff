"""A task's process is killed with SIGKILL in the middle of its work, and the task runs again: as if nothing had been.

Real processes with Airflow's own task runner do the tasks of the real DAGs, against PostgreSQL, carrier and AMOP over
HTTP, and the AWS emulator. `tests.worlds.kill_points` kills a process at a named place, `tests.worlds.kill_day` says
what is compared, `tests.worlds.warehouse_rows` which few columns are not, and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.server import ThreadedMotoServer

from tests.worlds.kill_day import Outcome, Step
from tests.worlds.kill_points import Call, HalfPage, HalfUpload, KillPoint, RowHeldByAnother, Statement
from tests.worlds.kill_world import KillWorld
from tests.worlds.reliability import RecordFault

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

pytestmark = pytest.mark.xdist_group("kill_points")  # what is prepared is prepared once

LIST, USAGES, SIM = "GET /devices", "GET /usages", "GET /devices/{iccid}"

# fmt: off
POINTS = {
    Step.SYNC: (
        KillPoint("select_providers", "session opened, not committed", Statement("runs/attach_session", has_run=True)),
        KillPoint("sync.fetch_devices", "in the middle of a page",
                  HalfPage(2), calls_again={LIST: 1}),
        KillPoint("sync.fetch_devices", "page received, before COPY",
                  Call("amop.database.copy:CopyInto.write", nth=2), calls_again={LIST: 1}),
        KillPoint("sync.fetch_devices", "after COPY, before the ledger row",
                  Statement("device_sync/insert_list_page", nth=2), calls_again={LIST: 1}),
        KillPoint("sync.fetch_devices", "ledger row committed, before the next page",
                  Statement("device_sync/scan_position", nth=3)),
        KillPoint("sync.fetch_devices", "list complete, Airflow not notified",
                  Call("airflow.sdk.execution_time.task_runner:_push_xcom_if_needed")),
        KillPoint("sync.fetch_usage", "usage page after COPY, before its work row",
                  Statement("device_sync/finish_work_row", nth=3), calls_again={USAGES: 1}),
        KillPoint("sync.archive_pages", "answers archived, not deleted", Statement("archive/delete_carrier_pages")),
        KillPoint("sync.publish_notification", "message on the queue (SQS), not marked",
                  Statement("device_sync/mark_notification_sent"), notifications_again=1),
    ),
    Step.CLEANUP: (
        KillPoint("cleanup.merge_devices", "in the middle of the merge", RowHeldByAnother("amop merge_devices")),
        KillPoint("cleanup.merge_devices", "SIMs merged, not committed",
                  Statement("device_sync/record_device_merge", has_run=True)),
        KillPoint("cleanup.merge_usage", "usage merged, not committed",
                  Statement("device_sync/record_usage_merge", has_run=True)),
        KillPoint("cleanup.notify_amop", "run complete with its notice, not delivered",
                  Statement("messages/claim_messages")),
        KillPoint("cleanup.notify_amop", "notice taken by AMOP, not marked",
                  Statement("messages/mark_sent"), messages_again=1),
        KillPoint("cleanup.trigger_optimization", "optimization triggered, task not marked",
                  Call("airflow.sdk.api.client:DagRunOperations.trigger", has_run=True)),
    ),
    Step.OPTIMIZATION: (
        KillPoint("open_instance", "instance opened, not committed",
                  Statement("optimization/insert_instance", has_run=True)),
        KillPoint("project_usage", "30 % taken by AMOP, not marked",
                  Statement("messages/mark_sent"), messages_again=1),
        KillPoint("assign_base", "SIMs read, their rate plans not", Statement("optimization/rate_plans")),
        KillPoint("solve", "plans found, not proved", Call("amop.solver.solver:certify")),
        KillPoint("write_results", "results written, instance not closed", Statement("optimization/set_savings")),
        KillPoint("write_workbook", "half of the workbook sent to S3", HalfUpload(b"PK")),
        KillPoint("publish_report", "instance and session ended, not committed",
                  Statement("runs/set_session_progress", has_run=True)),
    ),
    Step.CHANGES: (
        # In doubt, the carrier is asked; then all goes as before every change. A process that continues reads the list
        # of modified SIMs again.
        KillPoint("apply_changes", "change noted as sent, not sent",
                  Call("amop.carriers.control_center:ControlCenterClient.change_rate_plan", nth=2),
                  calls_again={SIM: 2, LIST: 1}),
        KillPoint("apply_changes", "first change made by the carrier, its answer not read",
                  Call("amop.carriers.http_client:read_json_body", nth=2), calls_again={SIM: 2}),
        KillPoint("apply_changes", "list of modified SIMs read, not noted",
                  Statement("plan_changes/record_modified"), calls_again={LIST: 1}),
        KillPoint("apply_changes", "list of modified SIMs noted, not committed",
                  Statement("plan_changes/set_listed", has_run=True), calls_again={LIST: 1}),
        KillPoint("apply_changes", "change answered, not noted",
                  Statement("plan_changes/set_outcome", nth=2), calls_again={SIM: 1, LIST: 1}),
        KillPoint("apply_changes", "between two changes", Statement("plan_changes/set_outcome", nth=2, has_run=True),
                  calls_again={LIST: 1}),
        KillPoint("verify_changes", "changes read back, not noted",
                  Statement("plan_changes/record_modified"), calls_again={LIST: 1}),
    ),
    Step.MAINTENANCE: (
        KillPoint("remove_staging", "staging deleted by half", Statement("maintenance/delete_rows_of_run", nth=3)),
    ),
}
"""Part of the day → task, where its process is killed, and what is then done once more."""
# fmt: on

TABLE = [pytest.param(step, point, id=point.name) for step, points in POINTS.items() for point in points]


@pytest.fixture(scope="module")
def world(
    postgres_server: EmbeddedPostgres, airflow_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KillWorld]:
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    built = KillWorld(
        postgres_server, tmp_path_factory.mktemp("kill-points"), airflow_database, f"http://{host}:{port}"
    )
    yield built
    built.close()
    aws.stop()


@pytest.mark.parametrize(("begin", "point"), TABLE)
def test_a_task_killed_at_any_point_leaves_what_an_undisturbed_one_leaves(
    world: KillWorld, reliability: RecordFault, begin: Step, point: KillPoint
) -> None:
    undisturbed, found = world.undisturbed(begin), world.run(begin, point)
    _require_same(found, undisturbed)
    _require_effects(found, undisturbed, [point])
    reliability(
        fault=f"SIGKILL in {point.task}: {point.name}",
        injected=1,
        expected="same rows everywhere, at AMOP, in S3 and at the carrier; calls again: only for what was not staged; "
        "1 optimization run at most",
        seen=_seen(found, undisturbed),
    )


def test_a_day_whose_every_task_is_killed_once_ends_as_an_undisturbed_day(
    world: KillWorld, reliability: RecordFault
) -> None:
    points = {
        step: list({point.task: point for point in reversed(known)}.values())[::-1] for step, known in POINTS.items()
    }
    killed = [point for step, known in points.items() for point in known if step != Step.MAINTENANCE]
    undisturbed, found = world.undisturbed_day(), world.run_day(points)
    assert found.optimization_runs == 1
    _require_same(found, undisturbed)
    _require_effects(found, undisturbed, killed)
    reliability(
        fault="SIGKILL in every task of a day, one after another, from the first page to the last plan change",
        injected=len(killed),
        expected="same rows everywhere, at AMOP, in S3 and at the carrier; 1 optimization run",
        seen=_seen(found, undisturbed),
    )


def test_what_is_compared_is_a_whole_day_and_tells_a_difference(world: KillWorld) -> None:
    day = world.undisturbed_day()
    written = {name for name, rows in day.rows.items() if rows}
    assert written >= {
        "device",
        "device_usage",
        "device_history",
        "device_sync_run",
        "device_sync_page",
        "device_staging",
        "device_usage_staging",
        "optimization_device_result",
        "optimization_instance",
        "rate_plan_change",
        "amop_outbox",
    }
    assert [text.count('"Progress": ') for text in day.messages].count(1) == 6
    assert len(day.objects) == 4 and all(day.objects.values())
    assert (day.optimization_runs, day.notifications, day.messages_again) == (1, 1, 0)
    assert day.calls[LIST] == 3 + 2 and day.calls["PUT /devices/{iccid}"] == 5
    before, after = world.undisturbed(Step.SYNC), day
    with pytest.raises(AssertionError):
        _require_same(before, after)


def _require_same(found: Outcome, undisturbed: Outcome) -> None:
    assert _different_lines(found.rows, undisturbed.rows) == {}
    assert _different_lines(found.objects, undisturbed.objects) == {}
    assert found.plans == undisturbed.plans
    assert found.messages == undisturbed.messages
    assert found.notified == undisturbed.notified
    assert found.optimization_runs == undisturbed.optimization_runs <= 1


def _different_lines(
    found: Mapping[str, list[str]], undisturbed: Mapping[str, list[str]]
) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Return what is only here and only there, by table or object."""
    names = found.keys() | undisturbed.keys()
    lines = {name: (Counter(found.get(name, [])), Counter(undisturbed.get(name, []))) for name in names}
    return {name: (here - there, there - here) for name, (here, there) in lines.items() if here != there}


def _require_effects(found: Outcome, undisturbed: Outcome, killed: list[KillPoint]) -> None:
    """Require that nothing was done twice but what cannot be known to be done: and that, so often and no oftener."""
    again = sum((Counter(point.calls_again) for point in killed), Counter[str]())
    assert found.calls == Counter(undisturbed.calls) + again
    assert found.messages_again == sum(point.messages_again for point in killed)
    assert found.notifications == undisturbed.notifications + sum(point.notifications_again for point in killed)


def _seen(found: Outcome, undisturbed: Outcome) -> str:
    differ = sum(rows != undisturbed.rows[name] for name, rows in found.rows.items())
    calls: Any = Counter(found.calls) - Counter(undisturbed.calls)
    return (
        f"{differ} of {len(found.rows)} tables differ in {sum(map(len, found.rows.values()))} rows; calls again: "
        f"{', '.join(f'{count} {endpoint}' for endpoint, count in calls.items()) or 'none'}; "
        f"{len(found.messages)} messages effective at AMOP, {found.messages_again} repeated; "
        f"{found.optimization_runs} optimization runs"
    )
