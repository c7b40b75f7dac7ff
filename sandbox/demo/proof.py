"""Check every figure of the demo against the data of the carrier, AMOP, S3, SQS and SES."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from email import message_from_string
from typing import Any

import psycopg
from rich.console import Console

from amop.plan_changes.rules import VERIFICATION_SAMPLE
from amop.plan_changes.store.decisions import SYSTEM_ACTOR
from amop.reports.approval_mail import APPROVAL_HEADER
from amop.reports.report_mail import SESSION_HEADER
from sandbox.carrier.catalogue import ALL_PROVIDERS, PROVIDERS_APPLYING_CHANGES, SERVICE_PROVIDERS, ServiceProvider
from sandbox.demo.approvals import BY_COMMAND, BY_UI, COMMAND_PROVIDER_ID
from sandbox.demo.fleet_checks import document_at, equal_details, equal_devices, equal_messages, equal_retired
from sandbox.demo.tables import cost_table, sync_table
from sandbox.world.aws_resources import ARCHIVE_BUCKET, BUCKET, QUEUE, aws_client, sent_mails
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World

PROGRESS_STEPS = [0, 20, 30, 40, 50, 100]
WRITE = "PUT /devices/{iccid}"
READS = ("GET ", "POST /devices/")
"""Beginnings of the endpoints that a sync reads; ThingSpace reads with POST."""
UNSTORED_READS = ("GET /operation-result", "GET /esims (end of the list)")
"""Teal's polls, and its question whether a list has ended: parts of a read, whose answer is stored once."""

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
    (run.summary ->> 'details_backlog_count')::bigint AS details_backlog,
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

SAVINGS = """
SELECT instance_id, applied_changes, forecast_saving, realised_saving
FROM amop.realised_saving
WHERE instance_id = ANY(%(instance_ids)s)
"""


@dataclass(frozen=True, slots=True)
class DagRuns:
    """The DAG run ids of the demo's device syncs."""

    optimized: list[str]
    """Syncs that started an optimization."""
    synced: list[str]
    """Later syncs without an optimization."""

    @property
    def count(self) -> int:
        """Return the number of runs."""
        return len(self.optimized) + len(self.synced)


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of the summary with its expected and its actual value."""

    name: str
    expected: object
    actual: object

    @property
    def is_passed(self) -> bool:
        """Return whether the actual value equals the expected one."""
        return self.expected == self.actual


def prove(
    world: World,
    console: Console,
    warehouse: psycopg.Connection[Any],
    dag_runs: DagRuns,
    *,
    approved: dict[int, str],
    confirmed: dict[int, dict[str, Any]],
    closed: set[int],
    moved: tuple[int, int],
    retired_in_closed: tuple[int, int],
) -> bool:
    """Print the summary of the cycle and return whether every check passed.

    Args:
        world: the world whose carrier, AMOP and AWS emulator are queried.
        console: console to print to.
        warehouse: connection to the warehouse.
        dag_runs: DAG run ids of the demo's syncs.
        approved: how changes were approved, by provider id.
        confirmed: `latest_changes` after the sync that confirms the changes.
        closed: ids of the providers whose billing period has ended.
        moved: `moved_usage` after that sync.
        retired_in_closed: `equal_retired` of the providers in ``closed`` after that sync.
    """
    optimized = warehouse.execute(RUNS, {"dag_run_ids": dag_runs.optimized}).fetchall()
    runs = optimized + warehouse.execute(RUNS, {"dag_run_ids": dag_runs.synced}).fetchall()
    stats = carrier_stats(world)
    truth_checks = [
        equal_devices(world, warehouse, provider, is_closed=provider.id in closed) for provider in ALL_PROVIDERS
    ]
    details = [equal_details(world, warehouse, provider) for provider in ALL_PROVIDERS]
    messages = [equal_messages(world, warehouse, provider) for provider in ALL_PROVIDERS]
    # Of the closed periods they were counted before these were closed.
    retired = [retired_in_closed]
    retired += [equal_retired(world, warehouse, [p]) for p in SERVICE_PROVIDERS if p.id not in closed]
    measured = [confirmed[key] for key in closed]
    savings = warehouse.execute(SAVINGS, {"instance_ids": [row["instance_id"] for row in measured]}).fetchall()
    console.print(sync_table(runs))
    console.print()
    console.print(cost_table(optimized))
    console.print(
        "The lower bound allows any number of changes. All providers but POD19 limit them (maximum_changes).\n"
    )
    checks = [
        Check(
            "syncs complete",
            dag_runs.count,
            sum(run["status"] == "complete" for run in runs),
        ),
        Check("devices equal to the carrier's data", sum(c[0] for c in truth_checks), sum(c[1] for c in truth_checks)),
        Check("details equal to the carrier's data", sum(c[0] for c in details), sum(c[1] for c in details)),
        Check("messages equal to the carrier's data", sum(c[0] for c in messages), sum(c[1] for c in messages)),
        Check("retired SIMs with the carrier's usage", sum(c[0] for c in retired), sum(c[1] for c in retired)),
        Check("SIMs with the carrier's usage after their plans changed", *moved),
        Check("providers whose backlog of details shrinks", *_shrinking_backlogs(runs)),
        Check("work rows left", 0, sum(run["work_rows_left"] for run in runs)),
        Check("quarantined records", 0, sum(run["quarantined"] for run in runs)),
        Check(
            "carrier responses archived", _sync_response_count(stats, confirmed), _archived_response_count(world, runs)
        ),
        *_session_checks(optimized),
        *_message_checks(world, optimized, runs),
        *_report_checks(world, optimized),
        *_change_checks(world, stats, confirmed, approved),
        *_savings_checks(measured, savings),
        Check("violations of the carrier's limits", 0, stats["violations"]),
        Check("world still running", True, Supervisor(world).is_running()),
    ]
    for check in checks:
        mark = "[green]ok    [/green]" if check.is_passed else "[red]FAILED[/red]"
        expected = "" if check.is_passed else f", expected {check.expected}"
        console.print(f"{mark}  {check.name}: {check.actual}{expected}", markup=True)
    return all(check.is_passed for check in checks)


def carrier_stats(world: World) -> dict[str, Any]:
    """Return the carrier's call counters."""
    stats: dict[str, Any] = document_at(f"{world.carrier_address}/sandbox/stats")
    return stats


def write_request_count(stats: dict[str, Any], provider: ServiceProvider) -> int:
    """Return the number of write requests that the carrier received for a provider."""
    return int(stats["accounts"].get(provider.api_user, {}).get("calls_by_endpoint", {}).get(WRITE, 0))


def take_notifications(world: World) -> list[dict[str, Any]]:
    """Receive and delete all messages of the device notification queue and return their bodies."""
    sqs = aws_client("sqs", world.aws_address)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    bodies: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def _sync_response_count(stats: dict[str, Any], changes: dict[int, dict[str, Any]]) -> int:
    """Return the number of read calls made by syncs: all read calls, less those that checked and verified changes."""
    read = sum(
        calls
        for account in stats["accounts"].values()
        for endpoint, calls in account["calls_by_endpoint"].items()
        if endpoint.startswith(READS) and endpoint not in UNSTORED_READS
    )
    return int(read) - sum(int(row["reads"]) for row in changes.values())


def _archived_response_count(world: World, runs: list[dict[str, Any]]) -> int:
    """Return the number of carrier responses in the archive objects of these runs."""
    s3 = aws_client("s3", world.aws_address)
    names = tuple(f"_run_{run['id']}.jsonl.gz" for run in runs)
    count = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=ARCHIVE_BUCKET):
        for key in (entry["Key"] for entry in page.get("Contents", []) if entry["Key"].endswith(names)):
            lines = gzip.decompress(s3.get_object(Bucket=ARCHIVE_BUCKET, Key=key)["Body"].read()).splitlines()
            count += len(lines) - 1  # the first line describes the run
    return count


def _shrinking_backlogs(runs: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the number of providers with several runs, and of those whose last one left fewer SIMs without details."""
    backlogs: dict[int, list[int]] = {}
    for run in sorted(runs, key=lambda run: int(run["id"])):
        backlogs.setdefault(run["service_provider_id"], []).append(run["details_backlog"])
    several = [counts for counts in backlogs.values() if len(counts) > 1]
    return len(several), sum(counts[-1] == 0 or counts[-1] < counts[0] for counts in several)


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
    sessions = document_at(f"{world.amop_address}/sandbox/sessions")
    guids = [run["session_guid"] for run in optimized]
    progress = [sessions.get(guid, {}).get("progress", []) for guid in guids]
    errors = [error for guid in guids for error in sessions.get(guid, {}).get("errors", [])]
    run_ids = {run["id"] for run in runs}
    keys = {f"daily_sync:{run['id']}:{run['service_provider_id']}" for run in runs}
    notices = [m for m in document_at(f"{world.amop_address}/sandbox/messages") if m.get("idempotency_key") in keys]
    notifications = [body for body in take_notifications(world) if body.get("run_id") in run_ids]
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
    mailed = [mail[SESSION_HEADER] for mail in mails]
    return [
        Check("reports in S3", len(runs), len(stored & {run["report_uri"] for run in runs})),
        Check("report mails sent", len(runs), sum(mailed.count(str(run["session_id"])) for run in runs)),
    ]


def _change_checks(
    world: World, stats: dict[str, Any], changes: dict[int, dict[str, Any]], approved: dict[int, str]
) -> list[Check]:
    """Return the checks of plan changes: applied for every provider with writes enabled, not sent for the others.

    A provider has no changes left if earlier demos of the same world already moved its SIMs to the cheapest plans.
    """
    rows = [changes[provider.id] for provider in PROVIDERS_APPLYING_CHANGES]
    writable = [changes[provider.id] for provider in PROVIDERS_APPLYING_CHANGES if provider.write_is_enabled]
    requested = {
        p.id for p in PROVIDERS_APPLYING_CHANGES if p.approval_above_changes is not None and changes[p.id]["changes"]
    }
    ways = Counter(approved.values())
    applied = sum(row["applied"] for row in writable)
    sent = [write_request_count(stats, provider) for provider in PROVIDERS_APPLYING_CHANGES]
    forbidden = [
        write_request_count(stats, provider) for provider in PROVIDERS_APPLYING_CHANGES if not provider.write_is_enabled
    ]
    by_operator = [row["applied"] for row in rows if row["changes_decided_by"] not in {None, SYSTEM_ACTOR}]
    samples = [min(VERIFICATION_SAMPLE, row["applied"]) for row in rows]
    return [
        Check(
            "providers with changes, now or in an earlier demo",
            len(rows),
            sum(bool(r["changes"] or r["before"]) for r in rows),
        ),
        Check("approvals from the command line", len(requested & {COMMAND_PROVIDER_ID}), ways[BY_COMMAND]),
        Check("approvals through the UI's API", len(requested - {COMMAND_PROVIDER_ID}), ways[BY_UI]),
        Check("approval mails sent", len(requested), _approval_mails(world, requested, changes)),
        Check("changes approved by an operator", sum(changes[key]["changes"] for key in requested), sum(by_operator)),
        Check("changes applied", sum(row["changes"] for row in writable), applied),
        Check("changes refused or in conflict", 0, sum(row["refused"] for row in rows)),
        Check("changes verified at the carrier", sum(samples), sum(row["verified"] for row in rows)),
        Check("write requests at the carrier", applied, sum(sent)),
        Check("providers with one write request per change", len(rows), sum(map(_is_equal, rows, sent))),
        Check("write requests where write_is_enabled is false", 0, sum(forbidden)),
        Check("changes confirmed by the next sync", applied, sum(row["confirmed"] for row in rows)),
    ]


def _is_equal(row: dict[str, Any], sent: int) -> bool:
    return bool(row["applied"] == sent)


def _approval_mails(world: World, requested: set[int], changes: dict[int, dict[str, Any]]) -> int:
    """Return the number of "approval required" e-mails sent for these providers."""
    mails = [message_from_string(mail["raw_data"]) for mail in sent_mails(world.aws_address)]
    mailed = [mail[APPROVAL_HEADER] for mail in mails]
    return sum(mailed.count(str(changes[key]["instance_id"])) for key in requested)


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
