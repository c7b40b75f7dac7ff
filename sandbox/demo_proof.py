"""What the demo must have left behind: every figure of its summary, checked against the carrier's and AMOP's truth."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from email import message_from_string
from typing import Any

import psycopg
import requests
from rich.console import Console
from rich.table import Table

from amop.domain.plan_changes import VERIFICATION_SAMPLE
from amop.notify.approval_mail import APPROVAL_HEADER
from amop.notify.report_mail import SESSION_HEADER
from amop.warehouse.plan_changes import US
from sandbox.aws_resources import ARCHIVE_BUCKET, BUCKET, QUEUE, aws_client, sent_mails
from sandbox.catalogue import PROVIDERS_THAT_APPLY, SERVICE_PROVIDERS, ServiceProvider
from sandbox.environment import World

PROGRESS_STEPS = [0, 20, 30, 40, 50, 100]
WRITE = "PUT /devices/{iccid}"
BY_COMMAND, BY_UI = "command line", "UI"
"""How the demo gives approvals: Jasper's from the command line, the others' as the UI does."""
JASPER = 1

RUNS = """
SELECT
    run.id,
    run.service_provider_id,
    provider.name,
    run.is_full,
    run.status,
    run.pages,
    run.devices_seen,
    run.devices_inserted,
    run.devices_updated,
    run.devices_vanished,
    run.usage_updated,
    run.work_rows_queued,
    (SELECT count(*) FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id) AS work_rows_left,
    (SELECT count(*) FROM amop.device_quarantine AS bad WHERE bad.run_id = run.id) AS quarantined,
    extract(EPOCH FROM run.ended_at - run.started_at) AS seconds,
    session.id AS session_id,
    session.session_guid::text AS session_guid,
    session.progress,
    session.status AS session_status,
    instance.device_count,
    instance.current_cost,
    instance.base_cost,
    instance.total_cost,
    instance.lower_bound,
    instance.report_uri,
    (SELECT count(*) FROM amop.rate_plan_change AS change WHERE change.instance_id = instance.id) AS changes
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
LEFT JOIN amop.optimization_session AS session ON run.optimization_session_id = session.id
LEFT JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
WHERE run.dag_run_id = ANY(%(dag_run_ids)s)
ORDER BY provider.id
"""

DEVICES = """
SELECT iccid, status, rate_plan, communication_plan, ctd_data_usage, is_active
FROM amop.device
WHERE service_provider_id = %(service_provider_id)s
"""


SAVINGS = """
SELECT instance_id, applied_changes, forecast_saving, realised_saving
FROM amop.realised_saving
WHERE instance_id = ANY(%(instance_ids)s)
"""


@dataclass(frozen=True, slots=True)
class DagRuns:
    """DAG run ids of the demo's device syncs."""

    optimized: list[str]
    """Those with an optimization behind them."""
    synced: list[str]
    """Those that only synced, later."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.optimized) + len(self.synced)


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of the summary: what it must be and what it is."""

    what: str
    expected: object
    found: object

    @property
    def is_met(self) -> bool:
        """True when the figure is what it must be."""
        return self.expected == self.found


def prove(
    world: World,
    console: Console,
    warehouse: psycopg.Connection[Any],
    dag_runs: DagRuns,
    *,
    answers: dict[int, str],
    confirmed: dict[int, dict[str, Any]],
    closed: set[int],
) -> bool:
    """Print the summary of the cycle and return True when every figure is what it must be.

    Args:
        world: whose carrier, AMOP and AWS are asked.
        console: where the summary goes.
        warehouse: the warehouse.
        dag_runs: the demo's syncs.
        answers: how approvals were given, by provider id.
        confirmed: plan changes as `latest_changes` gave them after the sync that follows them.
        closed: ids of the providers whose billing periods have ended.
    """
    optimized = warehouse.execute(RUNS, {"dag_run_ids": dag_runs.optimized}).fetchall()
    runs = optimized + warehouse.execute(RUNS, {"dag_run_ids": dag_runs.synced}).fetchall()
    stats = carrier_stats(world)
    truth_checks = [_check_devices(world, warehouse, provider) for provider in SERVICE_PROVIDERS]
    measured = [confirmed[key] for key in closed]
    savings = warehouse.execute(SAVINGS, {"instance_ids": [row["instance_id"] for row in measured]}).fetchall()
    console.print(_sync_table(runs))
    console.print()
    console.print(_cost_table(optimized))
    console.print(
        "The bound is that of any number of changes; all but POD19 may change a few SIMs only (maximum_changes).\n"
    )
    checks = [
        Check(
            "syncs complete",
            len(dag_runs.optimized) + len(dag_runs.synced),
            sum(run["status"] == "complete" for run in runs),
        ),
        Check("devices equal to the carrier's", sum(c[0] for c in truth_checks), sum(c[1] for c in truth_checks)),
        Check("work rows left", 0, sum(run["work_rows_left"] for run in runs)),
        Check("records in quarantine", 0, sum(run["quarantined"] for run in runs)),
        Check("answers archived", _answers_to_syncs(stats, confirmed), _answers_archived(world, runs)),
        *_session_checks(optimized),
        *_message_checks(world, optimized, runs),
        *_report_checks(world, optimized),
        *_change_checks(world, stats, confirmed, answers),
        *_savings_checks(measured, savings),
        Check("violations of the carrier's limits", 0, stats["violations"]),
    ]
    for check in checks:
        mark = "[green]ok[/green]" if check.is_met else "[red]NO[/red]"
        expected = "" if check.is_met else f", expected {check.expected}"
        console.print(f"{mark}  {check.what}: {check.found}{expected}", markup=True)
    return all(check.is_met for check in checks)


def carrier_stats(world: World) -> dict[str, Any]:
    """Return the calls that the carrier has counted."""
    stats: dict[str, Any] = _get(f"{world.carrier_address}/sandbox/stats")
    return stats


def writes(stats: dict[str, Any], provider: ServiceProvider) -> int:
    """Return how many write requests the carrier has got for a provider."""
    return int(stats["accounts"].get(provider.api_user, {}).get("calls_by_endpoint", {}).get(WRITE, 0))


def received_notifications(world: World) -> list[dict[str, Any]]:
    """Receive and delete everything in the device notification queue; return the message bodies."""
    sqs = aws_client("sqs", world.aws_address)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    bodies: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def _answers_to_syncs(stats: dict[str, Any], changes: dict[int, dict[str, Any]]) -> int:
    """Return how often syncs have asked the carrier: what was read, less one look before and some after changes."""
    read = sum(
        calls
        for account in stats["accounts"].values()
        for endpoint, calls in account["calls_by_endpoint"].items()
        if endpoint.startswith("GET ")
    )
    return int(read) - sum(int(row["applied"] + row["refused"] + row["verified"]) for row in changes.values())


def _answers_archived(world: World, runs: list[dict[str, Any]]) -> int:
    """Return the number of the carrier's answers in the archive's objects of these runs."""
    s3 = aws_client("s3", world.aws_address)
    names = tuple(f"_run_{run['id']}.jsonl.gz" for run in runs)
    count = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=ARCHIVE_BUCKET):
        for key in (entry["Key"] for entry in page.get("Contents", []) if entry["Key"].endswith(names)):
            lines = gzip.decompress(s3.get_object(Bucket=ARCHIVE_BUCKET, Key=key)["Body"].read()).splitlines()
            count += len(lines) - 1  # the first line tells of the run
    return count


def _check_devices(world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider) -> tuple[int, int]:
    """Return how many SIMs the carrier has, and how many of them the warehouse holds just as they are."""
    truth = _get(f"{world.carrier_address}/sandbox/truth/{provider.api_user}")["devices"]
    rows = {row["iccid"]: row for row in warehouse.execute(DEVICES, {"service_provider_id": provider.id}).fetchall()}
    equal = sum(
        device["iccid"] in rows and _comparable(rows[device["iccid"]]) == _comparable_truth(device) for device in truth
    )
    known = {device["iccid"] for device in truth}
    surplus = sum(row["is_active"] for iccid, row in rows.items() if iccid not in known)
    return len(truth), equal - surplus


def _comparable(row: dict[str, Any]) -> tuple[object, ...]:
    return row["status"], row["rate_plan"], row["communication_plan"], row["ctd_data_usage"]


def _comparable_truth(device: dict[str, Any]) -> tuple[object, ...]:
    return device["status"], device["rate_plan"], device["communication_plan"], device["data_usage"]


def _session_checks(runs: list[dict[str, Any]]) -> list[Check]:
    proved = [
        run
        for run in runs
        if run["total_cost"] is not None
        and run["lower_bound"] <= run["total_cost"] <= min(run["current_cost"], run["base_cost"])
    ]
    return [
        Check("sessions at 100 %", len(runs), sum(run["progress"] == 100 for run in runs)),
        Check("sessions whose bound <= cost <= min(current, base)", len(runs), len(proved)),
    ]


def _message_checks(world: World, optimized: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[Check]:
    sessions = _get(f"{world.amop_address}/sandbox/sessions")
    guids = [run["session_guid"] for run in optimized]
    progress = [sessions.get(guid, {}).get("progress", []) for guid in guids]
    errors = [error for guid in guids for error in sessions.get(guid, {}).get("errors", [])]
    run_ids = {run["id"] for run in runs}
    keys = {f"daily_sync:{run['id']}:{run['service_provider_id']}" for run in runs}
    notices = [m for m in _get(f"{world.amop_address}/sandbox/messages") if m.get("idempotency_key") in keys]
    notifications = [body for body in received_notifications(world) if body.get("run_id") in run_ids]
    return [
        Check("progress messages at AMOP", len(PROGRESS_STEPS) * len(guids), sum(map(len, progress))),
        Check("sessions with 0, 20, 30, 40, 50, 100 in order", len(guids), progress.count(PROGRESS_STEPS)),
        Check("error messages at AMOP", 0, len(errors)),
        Check("daily-sync notices at AMOP", len(runs), len(notices)),
        Check("messages in the notification queue", len(runs), len(notifications)),
    ]


def _report_checks(world: World, runs: list[dict[str, Any]]) -> list[Check]:
    pages = aws_client("s3", world.aws_address).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    stored = {f"s3://{BUCKET}/{item['Key']}" for page in pages for item in page.get("Contents", []) if item["Size"]}
    mails = [message_from_string(mail["raw_data"]) for mail in sent_mails(world.aws_address)]
    told = [mail[SESSION_HEADER] for mail in mails]
    return [
        Check("reports in S3", len(runs), len(stored & {run["report_uri"] for run in runs})),
        Check("report mails sent", len(runs), sum(told.count(str(run["session_id"])) for run in runs)),
    ]


def _change_checks(
    world: World, stats: dict[str, Any], changes: dict[int, dict[str, Any]], answers: dict[int, str]
) -> list[Check]:
    """Return what must be true of the plan changes: everybody's who may write was applied, nobody else's was sent.

    A provider that earlier demos of the same world have brought to its cheapest plans has nothing left to change.
    """
    rows = [changes[provider.id] for provider in PROVIDERS_THAT_APPLY]
    may_write = [changes[provider.id] for provider in PROVIDERS_THAT_APPLY if provider.write_is_enabled]
    asked = {p.id for p in PROVIDERS_THAT_APPLY if p.approval_above_changes is not None and changes[p.id]["changes"]}
    ways = Counter(answers.values())
    applied = sum(row["applied"] for row in may_write)
    sent = [writes(stats, provider) for provider in PROVIDERS_THAT_APPLY]
    forbidden = [writes(stats, provider) for provider in PROVIDERS_THAT_APPLY if not provider.write_is_enabled]
    by_person = [row["applied"] for row in rows if row["changes_decided_by"] not in {None, US}]
    samples = [min(VERIFICATION_SAMPLE, row["applied"]) for row in rows]
    return [
        Check("providers with changes, now or before", len(rows), sum(bool(r["changes"] or r["before"]) for r in rows)),
        Check("approvals from the command line", len(asked & {JASPER}), ways[BY_COMMAND]),
        Check("approvals as the UI gives them", len(asked - {JASPER}), ways[BY_UI]),
        Check("approval mails sent", len(asked), _approval_mails(world, asked, changes)),
        Check("changes that a person approved", sum(changes[key]["changes"] for key in asked), sum(by_person)),
        Check("changes applied", sum(row["changes"] for row in may_write), applied),
        Check("changes refused or in conflict", 0, sum(row["refused"] for row in rows)),
        Check("changes read back from the carrier", sum(samples), sum(row["verified"] for row in rows)),
        Check("write requests at the carrier", applied, sum(sent)),
        Check("providers with one write request a change", len(rows), sum(map(_is_equal, rows, sent))),
        Check("write requests where write_is_enabled is false", 0, sum(forbidden)),
        Check("changes confirmed by the next sync", applied, sum(row["confirmed"] for row in rows)),
    ]


def _is_equal(row: dict[str, Any], sent: int) -> bool:
    return bool(row["applied"] == sent)


def _approval_mails(world: World, asked: set[int], changes: dict[int, dict[str, Any]]) -> int:
    """Return how many mails have told somebody that the approval of these providers' changes waits."""
    mails = [message_from_string(mail["raw_data"]) for mail in sent_mails(world.aws_address)]
    told = [mail[APPROVAL_HEADER] for mail in mails]
    return sum(told.count(str(changes[key]["instance_id"])) for key in asked)


def _savings_checks(measured: list[dict[str, Any]], savings: list[dict[str, Any]]) -> list[Check]:
    changed = [row for row in savings if row["applied_changes"]]
    return [
        Check("realised savings", len(measured), len(savings)),
        Check(
            "changes in the realised savings",
            sum(row["applied"] for row in measured),
            sum(row["applied_changes"] for row in savings),
        ),
        Check("realised savings above zero", len(changed), sum(row["realised_saving"] > 0 for row in changed)),
    ]


def _sync_table(runs: list[dict[str, Any]]) -> Table:
    table = Table(title="Device syncs", title_justify="left", show_edge=False)
    for column in ("service provider", "list"):
        table.add_column(column)
    for column in ("pages", "SIMs listed", "inserted", "changed", "vanished", "usage changed", "seconds"):
        table.add_column(column, justify="right")
    for run in runs:
        figures = (
            run["pages"], run["devices_seen"], run["devices_inserted"], run["devices_updated"],
            run["devices_vanished"], run["usage_updated"], round(run["seconds"] or 0),
        )  # fmt: skip
        table.add_row(run["name"], "full" if run["is_full"] else "incremental", *(f"{figure:,}" for figure in figures))
    return table


def _cost_table(runs: list[dict[str, Any]]) -> Table:
    table = Table(title="Optimization of the billing period's forecast", title_justify="left", show_edge=False)
    table.add_column("service provider")
    for column in (
        "SIMs",
        "cost before",
        "base",
        "cost after",
        "proven bound",
        "gap",
        "saving",
        "plan changes",
    ):
        table.add_column(column, justify="right")
    for run in runs:
        if run["total_cost"] is None:
            table.add_row(run["name"], *("–",) * 8)
            continue
        before, after = run["current_cost"], run["total_cost"]
        gap = (after - run["lower_bound"]) / after if after else Decimal(0)
        saving = (before - after) / before if before else Decimal(0)
        table.add_row(
            run["name"], f"{run['device_count']:,}", f"{before:,.2f}", f"{run['base_cost']:,.2f}", f"{after:,.2f}",
            f"{run['lower_bound']:,.2f}", f"{gap:.1e}", f"{saving:.1%}", f"{run['changes']:,}",
        )  # fmt: skip
    return table


def _get(address: str) -> Any:
    session = requests.Session()
    session.trust_env = False
    response = session.get(address, timeout=60)
    response.raise_for_status()
    return response.json()
