"""Optimizations by ``dag.test()``: report in S3 and by e-mail, and what becomes of the plan changes at the carrier."""

from __future__ import annotations

import io
from datetime import timedelta
from email import message_from_string
from email.policy import default
from typing import Any
from urllib.parse import quote

import openpyxl
import psycopg
import pytest
import requests
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.utils.session import create_session
from sqlalchemy import func, select

from amop import ids
from amop.carriers import circuit_breaker
from amop.plan_changes import apply
from amop.reports.approval_mail import APPROVAL_HEADER
from amop.tasks.approval_mail import ApprovalMail
from sandbox.world.aws_resources import BUCKET, MAIL_FROM, MAIL_TO, aws_client, sent_mails
from tests.worlds.dag_world import CANARY, TOKEN, Day
from tests.worlds.reliability import RecordFault

REPORT_TASKS = ("write_workbook", "mail_report")


def test_the_result_is_in_s3_linked_from_the_run_and_mailed(day: Day) -> None:
    run = _optimize(day)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    key = f"carrier_optimization/jasper/1/{_period(day)}/optimization_{instance['session_id']}.xlsx"
    stored = aws_client("s3", day.aws).get_object(Bucket=BUCKET, Key=key)
    assert stored["ContentType"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    book = openpyxl.load_workbook(io.BytesIO(stored["Body"].read()), data_only=True)
    assert book["SIMs"].max_row == instance["device_count"] + 1
    assert instance["report_uri"] == f"s3://{BUCKET}/{key}"

    link = run.get_task_instance("write_workbook").xcom_pull(task_ids="write_workbook", key="_link_WorkbookLink")
    assert link == f"{day.aws}/{BUCKET}/{key}"
    assert requests.get(link, timeout=10).content[:2] == b"PK"
    (event,) = (event for event in _asset_events(run) if "report_uri" in event.extra)  # the changes tell theirs, too
    assert event.extra["report_uri"] == instance["report_uri"]
    assert event.extra["instance_id"] == instance["id"]

    ((mail, message),) = _mails_of(day, run)
    assert set(mail["destinations"]) == set(MAIL_TO.split(";"))
    assert (mail["source"], message["From"], message["To"]) == (MAIL_FROM, MAIL_FROM, MAIL_TO.replace(";", ", "))
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    for part in (plain, html):
        content = part.get_content()
        assert link in content
        assert f"/dags/carrier_optimization_jasper/runs/{quote(run.run_id)}" in content
        assert f"{instance['savings']:,.2f}" in content and f"{instance['total_cost']:,.2f}" in content
        assert CANARY not in content and TOKEN not in content
    assert instance["report_mailed_at"] is not None


def test_without_bucket_and_recipients_both_are_off_and_the_session_completes(
    day: Day, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET")
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_MAIL_TO")
    run = _optimize(day)
    assert _states(run) == {"write_workbook": "skipped", "publish_report": "success", "mail_report": "skipped"}
    assert run.state == "success"
    assert caplog.text.count("Variable amop_reports_bucket is not set: the workbook in S3 is off") == 1
    assert caplog.text.count("Variable amop_mail_to is not set: the report by e-mail is off") == 1
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert (instance["run_status"], instance["report_uri"]) == ("complete_with_success", None)
    assert _mails_of(day, run) == []


def test_without_s3_and_ses_the_optimization_completes_with_warnings(
    day: Day, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", "no-such-bucket")
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_FROM", "nobody@unverified.example")
    run = _optimize(day)
    assert _states(run) == {"write_workbook": "skipped", "publish_report": "success", "mail_report": "skipped"}
    assert run.state == "success"
    (told,) = day.amop.sessions().values()
    assert (told["progress"], told["errors"]) == ([0, 20, 30, 40, 50, 100], [])
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["run_status"] == "complete_with_success"
    workbook, mail = instance["warning"].splitlines()[-2:]
    assert workbook.startswith("The workbook was not written to S3: ") and "NoSuchBucket" in workbook
    assert mail.startswith("The report was not mailed: ") and "nobody@unverified.example" in mail
    assert _mails_of(day, run) == []
    for name in REPORT_TASKS:  # the relay tries again, the run does not wait for it
        tried = run.get_task_instance(name)
        assert (tried.try_number, tried.max_tries) == (1, 3)
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", BUCKET)
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_FROM", MAIL_FROM)
    with psycopg.connect(day.dsn) as connection:
        connection.execute("UPDATE amop.undelivered_report SET next_attempt_at = now()")
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    assert day.rows("SELECT * FROM amop.undelivered_report") == []
    (later,) = day.rows("SELECT report_uri, report_mailed_at FROM amop.optimization_instance")
    assert later["report_uri"].startswith(f"s3://{BUCKET}/") and later["report_mailed_at"] is not None
    reliability(
        fault="S3 refuses the workbook and SES the mail, under Airflow",
        injected=2,
        expected="0 20 30 40 50 100 %, 0 errors, 2 warnings",
        seen=f"{' '.join(map(str, told['progress']))} %, {len(told['errors'])} errors, "
        f"{len(instance['warning'].splitlines()[-2:])} warnings",
    )


def _optimize(day: Day) -> Any:
    """Optimize the Jasper provider on its reference data and one SIM, without a sync.

    Only the tasks of the reports may be tried again: a report that they cannot deliver must not need it.
    """
    with psycopg.connect(day.dsn) as connection:
        connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid, status, rate_plan, communication_plan, sms_is_read)"
            " SELECT 1, '8901170000000000001', 'ACTIVATED', NULL, communication.name, true"
            " FROM amop.communication_plan AS communication"
            " JOIN amop.communication_plan_rate_plan AS mapping ON mapping.communication_plan_id = communication.id"
            " WHERE communication.service_provider_id = 1 ORDER BY communication.id LIMIT 1"
        )
    for task in day.dags["carrier_optimization_jasper"].tasks:
        if task.task_id not in REPORT_TASKS:
            task.retries = 0
    return day.run("carrier_optimization_jasper", service_provider_id=1)


def _period(day: Day) -> str:
    (period,) = day.rows(
        "SELECT period.* FROM amop.billing_period AS period JOIN amop.optimization_session AS session"
        " ON session.billing_period_id = period.id"
    )
    return f"{period['bill_year']}-{period['bill_month']:02}"


def _states(run: Any) -> dict[str, str]:
    names = ("write_workbook", "publish_report", "mail_report")
    return {name: str(run.get_task_instance(name).state) for name in names}


def _mails_of(day: Day, run: Any) -> list[tuple[dict[str, Any], Any]]:
    """Return the mails that name a run, raw and read: the emulator's list is one for the whole process."""
    mails: list[tuple[dict[str, Any], Any]] = [
        (mail, message_from_string(mail["raw_data"], policy=default)) for mail in sent_mails(day.aws)
    ]
    return [(mail, message) for mail, message in mails if quote(run.run_id) in message.get_body().get_content()]


def _asset_events(run: Any) -> list[Any]:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return list(session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)))


# Somebody is told that an approval waits


def _ask(day: Day, run: Any) -> int:
    """Mail the question of a run as its operator does before it waits; return the instance's id."""
    (instance,) = day.rows("SELECT id FROM amop.optimization_instance")
    question = day.dags[run.dag_id].get_task(ids.APPROVE_CHANGES_TASK)
    question.instance = {"instance_id": instance["id"]}
    question.subject = "AT&T <Control> Center: apply 2 rate plan changes that save USD 8.00?"
    question.body = "A person must **agree**.\n\n| from | to |\n|---|---:|\n| Large\\_1 | <b>Small</b> |"
    ApprovalMail()({"task": question, "dag_run": run})
    return int(instance["id"])


def test_the_recipients_of_the_report_are_mailed_that_an_approval_waits(day: Day) -> None:
    run = _optimize(day)
    instance_id = _ask(day, run)
    ((mail, message),) = [found for found in _mails_of(day, run) if found[1][APPROVAL_HEADER]]
    assert (mail["source"], set(mail["destinations"])) == (MAIL_FROM, set(MAIL_TO.split(";")))
    assert message[APPROVAL_HEADER] == str(instance_id) and message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] == "AT&T <Control> Center: apply 2 rate plan changes that save USD 8.00?"
    html = message.get_body().get_content()
    address = f"/dags/{run.dag_id}/runs/{quote(run.run_id)}/tasks/approve_changes/required_actions"
    assert f'{address}">Answer in Airflow</a>' in html
    assert f"bin/amop approvals approve {run.dag_id}/{run.run_id}" in html
    assert "<h2" in html and "AT&amp;T &lt;Control&gt; Center" in html
    assert "<strong>agree</strong>" in html and "<th>from</th>" in html
    assert "<td>Large_1</td>" in html and "&lt;b&gt;Small&lt;/b&gt;" in html
    assert CANARY not in html and TOKEN not in html


def test_without_recipients_nobody_is_mailed_that_an_approval_waits(
    day: Day, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_MAIL_TO")
    run = _optimize(day)
    _ask(day, run)
    assert "Variable amop_mail_to is not set: the approval required e-mail is off" in caplog.text
    assert _mails_of(day, run) == []


def test_a_mail_that_ses_refuses_does_not_cost_the_question_and_is_a_warning(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _optimize(day)
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_FROM", "nobody@unverified.example")
    _ask(day, run)
    (instance,) = day.rows("SELECT warning FROM amop.optimization_instance")
    warning = instance["warning"].splitlines()[-1]
    assert warning.startswith("The approval required e-mail was not sent: ") and "nobody@unverified.example" in warning


# What becomes of plan changes


def optimize(day: Day, **settings: Any) -> Any:
    """Run a sync and its optimization with these settings of the provider; return the run."""
    columns = ", ".join(f"{name} = {value}" for name, value in settings.items())
    with psycopg.connect(day.dsn) as connection:
        connection.execute(f"UPDATE amop.service_provider SET {columns} WHERE id = 1")  # type: ignore[arg-type]
    assert day.run("device_sync_jasper", optimization="always").state == "success"
    with psycopg.connect(day.dsn) as connection:  # whatever day it is, there is time left
        connection.execute("UPDATE amop.billing_period SET cycle_end = greatest(cycle_end, now() + interval '2 days')")
    (session,) = day.rows("SELECT * FROM amop.optimization_session WHERE status = 'running'")
    return day.run(
        "carrier_optimization_jasper",
        service_provider_id=1,
        optimization_session_id=session["id"],
        billing_period_id=session["billing_period_id"],
    )


def writes(day: Day) -> int:
    return int(day.carrier.stats("api_jasper")["calls_by_endpoint"].get("PUT /devices/{iccid}", 0))


def plans_at_the_carrier(day: Day) -> dict[str, str]:
    return {sim["iccid"]: sim["rate_plan"] for sim in day.carrier.truth("api_jasper")["devices"]}


CHANGES = """
SELECT device.iccid, device.rate_plan, change.*
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
"""


def test_changes_within_the_limits_are_applied_and_the_next_sync_confirms_them(day: Day) -> None:
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    changes = day.rows(CHANGES)
    assert instance["changes_status"] == "applied" and len(changes) > 5
    assert instance["changes_planned_by"] == f"carrier_optimization_jasper/{run.run_id}"
    assert {change["state"] for change in changes} == {"applied"}
    assert writes(day) == len(changes)
    assert sum(change["verified_at"] is not None for change in changes) == min(50, len(changes))
    plans = plans_at_the_carrier(day)
    assert all(plans[change["iccid"]] == change["to_rate_plan"] for change in changes)
    assert all(change["rate_plan"] == change["from_rate_plan"] for change in changes)

    assert day.run("device_sync_jasper", optimization="never").state == "success"
    assert all(change["rate_plan"] == change["to_rate_plan"] for change in day.rows(CHANGES))


def test_a_test_of_the_dag_does_not_wait_for_a_person_and_sends_nothing(day: Day) -> None:
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True, approval_above_changes=0)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["changes_status"] == "proposed_only"
    assert "a test of the DAG cannot wait for approval" in instance["changes_reason"]
    assert {change["state"] for change in day.rows(CHANGES)} == {"proposed"}
    assert writes(day) == 0


def test_a_provider_that_may_not_be_written_to_gets_no_write_request(day: Day) -> None:
    assert optimize(day, can_auto_update_rate_plans=True, write_is_enabled=False).state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["changes_status"] == "proposed_only"
    assert {change["state"] for change in day.rows(CHANGES)} == {"proposed"}
    assert writes(day) == 0


def test_a_key_that_may_not_write_stops_the_changes_and_says_so_at_the_instance(day: Day) -> None:
    day.carrier.add_fault(status=401, method="PUT", times=None)
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "failed"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert (instance["run_status"], instance["changes_status"]) == ("complete_with_success", "stopped")
    assert "connection carrier_jasper" in instance["changes_reason"]
    assert CANARY not in instance["changes_reason"]
    assert {change["state"] for change in day.rows(CHANGES)} == {"approved"}
    assert writes(day) == 1
    (told,) = day.amop.sessions().values()
    assert (told["progress"], told["errors"]) == ([0, 20, 30, 40, 50, 100], [])


def test_changes_wait_for_a_carrier_that_is_down_and_each_is_sent_once(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", timedelta(seconds=3))
    monkeypatch.setattr(circuit_breaker, "FAILURES_TO_OPEN", 1)
    monkeypatch.setattr(apply, "SETTLE_AFTER", timedelta(seconds=1))
    day.carrier.add_fault(truncate=True, method="PUT", nth_call=2)  # done, and its answer never comes
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "success"
    changes = day.rows(CHANGES)
    assert {change["state"] for change in changes} == {"applied"}
    assert writes(day) == len(changes)
    with create_session() as session:
        waits = session.scalar(
            select(func.count(TaskReschedule.id))
            .join(TaskInstance, TaskReschedule.ti_id == TaskInstance.id)
            .where(TaskInstance.run_id == run.run_id, TaskInstance.task_id == "apply_changes")
        )
    assert waits == 1


def test_a_complete_optimization_that_is_cleared_stays_green_and_changes_nothing(day: Day) -> None:
    run = _optimize(day)
    tables = ("optimization_session", "optimization_device_result", "rate_plan_change", "amop_outbox")
    before = {name: day.rows(f"SELECT * FROM amop.{name} ORDER BY 1") for name in tables}
    sent = len(_mails_of(day, run))
    day.clear(run, ["open_instance"], downstream=True)
    states = day.resume(run)
    assert (states[""], set(states.values()) - {"success", "skipped"}) == ("success", set()), states
    assert {name: day.rows(f"SELECT * FROM amop.{name} ORDER BY 1") for name in tables} == before
    assert len(_mails_of(day, run)) == sent
