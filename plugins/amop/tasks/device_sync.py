"""The tasks and task groups of ``device_sync_<integration>``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TriggerRule, get_current_context, task, task_group
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from amop import ids, time_limits
from amop.config import INTEGRATIONS, Integration
from amop.database.clock import warehouse_clock
from amop.database.connection import transaction
from amop.log_lines import figures
from amop.messages.undelivered_reports import ReportKind
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import load_run
from amop.tasks import lineage
from amop.tasks.back_fill import is_back_fill
from amop.tasks.carrier_access import carrier_of
from amop.tasks.connections import deliver_message, deliver_session_messages, warehouse_conninfo, warehouse_now
from amop.tasks.dag_runs import START_ONCE, is_active, is_trial, requested_at
from amop.tasks.frames import PROVIDER_LABEL, ProviderRun, SyncWork, TriggeredRun, sync_task
from amop.tasks.provider_names import chosen_ids, keep_providers
from amop.tasks.reopening import replace_session_of_cleared_run
from amop.tasks.results import required
from amop.tasks.staging_sensor import DAG_TEST_USER, LONGEST_PAUSE_SECONDS, StagingReadySensor
from amop.tasks.sync_reports import or_undelivered, send_notification, send_sync_log, write_archive

log = logging.getLogger(__name__)

TARGET_OF_SESSION = (
    "{{ ti.xcom_pull(task_ids='cleanup.should_optimize', key='trigger_dag_id', map_indexes=ti.map_index) }}"
)
"""The optimization DAG of a session, in a DAG for all integrations; Airflow accepts only text here."""

FIRST_POLL_SECONDS = 5
"""Until the second query of a sensor that reschedules itself; later ones are up to a minute apart."""


@task(execution_timeout=time_limits.BRIEF_TASK)
def select_providers(integration: str) -> list[ProviderRun]:
    """Read the active providers and the params; open one run each and, where due, its session (AMOP 0 %)."""
    from amop.runs.opening import SyncRequest, open_runs

    context = get_current_context()
    if is_back_fill(context):
        log.info("A back-fill run: the carrier is not called, see replay_archive")
        return []
    params, dag_run, now = context["params"], context["dag_run"], warehouse_now()
    modified_since, chosen = params["modified_since"], chosen_ids(params["service_provider_ids"])
    runs = open_runs(
        warehouse_conninfo(),
        SyncRequest(
            integration=integration,
            dag_id=dag_run.dag_id,
            dag_run_id=dag_run.run_id,
            service_provider_ids=chosen,
            full_sync=params["full_sync"],
            modified_since=_aware(modified_since) if modified_since else None,
            optimization="never" if is_trial(dag_run) else params["optimization"],
            requested_at=requested_at(dag_run, now),
            allow_mass_deactivation=params["allow_mass_deactivation"],
            allow_implausible=params["allow_implausible"],
            clear_number=dag_run.clear_number or 0,
            is_one_process=dag_run.triggering_user_name == DAG_TEST_USER,
        ),
        now=now,
        is_active=is_active,
    )
    deliver_session_messages(*(run.optimization_session_id for run in runs))
    if not chosen and not is_trial(dag_run):  # the runs are those of all active providers
        keep_providers(integration, {run.service_provider_id: run.service_provider_name for run in runs})
    return [
        ProviderRun(
            run_id=run.run_id,
            service_provider_id=run.service_provider_id,
            service_provider_name=run.service_provider_name,
            connection_id=run.connection_id,
            optimization_session_id=run.optimization_session_id,
        )
        for run in runs
    ]


def _aware(text: str) -> datetime:
    """Return an ISO 8601 moment as an aware one; a moment without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@sync_task(limit=time_limits.BRIEF_TASK)
def queue_sync(work: SyncWork) -> None:
    """Create the run's first work row (AMOP 20 %): the clean-up now has something to wait for."""
    from amop.device_sync import fetch

    fetch.queue_sync(work.conninfo, work.run_id)
    deliver_session_messages(work.run["optimization_session_id"])


@sync_task(limit=time_limits.FETCH_TASK)
def fetch_devices(work: SyncWork) -> int:
    """Page the carrier's device list into staging; resumes after the last page in the ledger."""
    from amop.device_sync import fetch

    with carrier_of(work) as client:
        listed = fetch.fetch_devices(work.conninfo, work.run_id, client, clock=warehouse_clock(work.conninfo))
    _record_rows(work, listed, read=listed)
    return listed


@sync_task(limit=time_limits.FETCH_TASK)
def fetch_usage(work: SyncWork) -> int:
    """Empty the work rows: bulk usage per rate plan, single SIMs, details."""
    from amop.device_sync import fetch

    with carrier_of(work) as client:
        calls = fetch.fetch_usage(work.conninfo, work.run_id, client, clock=warehouse_clock(work.conninfo))
    _record_rows(work, _loaded(work).work_rows_queued, calls=calls)
    return calls


@task(map_index_template=PROVIDER_LABEL, execution_timeout=time_limits.BULK_TASK)
def archive_pages(run: ProviderRun) -> None:
    """Write the carrier's responses to the archive, as one object; if that fails, the relay repeats it."""
    with or_undelivered(ReportKind.ARCHIVE, run["run_id"]):
        pages = write_archive(warehouse_conninfo(), run["run_id"])
        lineage.record_rows(pages, _ids_of(run))


@task(map_index_template=PROVIDER_LABEL, execution_timeout=time_limits.TASK)
def publish_notification(run: ProviderRun) -> None:
    """Notify the device notification queue (SQS) that this provider is staged; if that fails, the relay repeats it."""
    with or_undelivered(ReportKind.NOTIFICATION, run["run_id"]):
        send_notification(warehouse_conninfo(), run["run_id"])


@sync_task(limit=time_limits.BULK_TASK)
def merge_devices(work: SyncWork) -> dict[str, int]:
    """Merge staged SIMs into `amop.device`: only what changed is written; refused when the list is not complete."""
    from amop.device_sync import merge

    counts = merge.merge_devices(work.conninfo, work.run_id, now=work.now)
    written = counts.devices_inserted + counts.devices_updated + counts.devices_vanished
    _record_rows(work, written, read=_loaded(work).devices_seen, **asdict(counts))
    return asdict(counts)


@sync_task(limit=time_limits.BULK_TASK)
def merge_usage(work: SyncWork) -> int:
    """Merge staged usage into the cycle-to-date columns and the daily delta rows."""
    from amop.device_sync import merge

    updated = merge.merge_usage(work.conninfo, work.run_id, now=work.now)
    _record_rows(work, updated)
    return updated


@sync_task(limit=time_limits.TASK)
def update_communication_plans(work: SyncWork) -> int:
    """Add the communication plans that the carrier names for the first time, and report them; return how many."""
    from amop.device_sync import communication_plans

    added = len(communication_plans.update_communication_plans(work.conninfo, work.run_id, now=work.now))
    _record_rows(work, added)
    return added


@sync_task(limit=time_limits.TASK)
def check_quality(work: SyncWork) -> dict[str, int]:
    """Prove that SIMs listed = SIMs merged + SIMs quarantined."""
    from amop.device_sync import quality

    balance = quality.check_quality(work.conninfo, work.run_id)
    lineage.record_read(balance.devices_seen, integration=_loaded(work).integration)
    return asdict(balance)


@sync_task(limit=time_limits.REPORT_TASK)
def publish_summary(work: SyncWork) -> None:
    """Store the sync summary; write the sync log file to S3 where a bucket is set, or leave it to the relay."""
    from amop.device_sync.summary import summarize

    log.info("%s: %s", work.run["service_provider_name"], figures(summarize(work.conninfo, work.run_id)))
    run = _loaded(work)
    lineage.record_read(run.devices_seen, integration=run.integration)
    with or_undelivered(ReportKind.SYNC_LOG, work.run_id):
        send_sync_log(work.conninfo, work.run_id)


@sync_task(limit=time_limits.TASK, completes=True)
def notify_amop(work: SyncWork) -> None:
    """End the run as complete and send AMOP the daily-sync notice, after the merge has committed."""
    from amop.device_sync.complete_run import complete_run

    deliver_message(complete_run(work.conninfo, work.run_id, now=work.now))
    run = _loaded(work)
    _record_rows(
        work,
        run.devices_seen,
        read=run.devices_seen,
        inserted=run.devices_inserted,
        updated=run.devices_updated,
        usage_updated=run.usage_updated,
    )


def _record_rows(work: SyncWork, written: int, *, read: int | None = None, **facts: object) -> None:
    lineage.record_rows(
        written,
        {**facts, **_ids_of(work.run)},
        read=read,
        integration=_loaded(work).integration,
    )


def _ids_of(run: ProviderRun) -> dict[str, int]:
    return {"run_id": run["run_id"], "service_provider_id": run["service_provider_id"]}


def _loaded(work: SyncWork) -> SyncRun:
    with transaction(work.conninfo, application_name="amop lineage") as connection:
        return load_run(connection, work.run_id)


@sync_task(limit=time_limits.BRIEF_TASK, resumes=False, multiple_outputs=True)
def should_optimize(work: SyncWork) -> TriggeredRun:
    """Continue only if the integration is optimized and a session was opened for this run."""
    from amop.device_sync.complete_run import session_to_optimize

    replace_session_of_cleared_run(work.run_id, get_current_context())
    session = session_to_optimize(work.conninfo, work.run_id)
    if session is None:
        raise AirflowSkipException("No optimization session runs for this sync")
    return TriggeredRun(
        conf=asdict(session),
        trigger_run_id=ids.optimization_run_id(session.optimization_session_id),
        trigger_dag_id=ids.carrier_optimization_dag(_loaded(work).integration),
    )


@task_group(group_id="sync", tooltip="The carrier's device list and usage into staging")
def sync(run: Any, integration: Integration) -> None:
    """Wire the main pipeline of one provider: queue, list, usage, notification and archive."""
    staged = [lineage.staging(integration.name)]
    reads: dict[str, Any] = {
        "pool": ids.carrier_pool(integration.name),
        "inlets": [lineage.carrier_list(integration.name)],
        "outlets": staged,
    }
    (
        queue_sync(run=run)
        >> fetch_devices.override(**reads)(run=run)
        >> fetch_usage.override(**reads)(run=run)
        >> [
            publish_notification.override(inlets=staged)(run=run),
            archive_pages.override(inlets=staged, outlets=[lineage.archive(integration.name)])(run=run),
        ]
    )


@task_group(group_id="cleanup", tooltip="Waits beside the sync, then staging to the main tables, notice, optimization")
def cleanup(run: Any, integration: Integration | None) -> None:
    """Wire the monitor of one provider: it starts with the sync, waits for its rows, merges, notifies and triggers.

    Args:
        run: the provider's run.
        integration: the integration of the DAG; None in a DAG for all of them.
    """
    wait = StagingReadySensor(
        task_id="wait_for_staging",
        run=run,
        poke_interval=FIRST_POLL_SECONDS,
        exponential_backoff=True,
        max_wait=LONGEST_PAUSE_SECONDS,
        timeout=time_limits.WAIT_FOR_STAGING.total_seconds(),
        execution_timeout=time_limits.WAIT_FOR_STAGING,
        deferrable=conf.getboolean("operators", "default_deferrable", fallback=False),
        doc_md="Wait until this provider's list is complete and 0 work rows are left; fails when the sync has failed.",
        # It starts with the sync, not after it; see `clear_sensor_with_fetch`.
        trigger_rule=TriggerRule.ONE_SUCCESS,
        map_index_template="{{ task.run['service_provider_name'] }}",
    )
    names = list(INTEGRATIONS) if integration is None else [integration.name]
    staged, merged = [lineage.staging(name) for name in names], [lineage.merged(name) for name in names]
    merges: dict[str, Any] = {
        "inlets": staged,
        "outlets": [lineage.ANY_MERGED] if integration is None else merged,
    }
    complete = lineage.ANY_DEVICES if integration is None else lineage.devices(integration.name)
    notified = notify_amop.override(inlets=merged, outlets=[complete])(run=run)
    (
        wait
        >> merge_devices.override(**merges)(run=run)
        >> merge_usage.override(**merges)(run=run)
        >> update_communication_plans.override(**merges)(run=run)
        >> check_quality.override(inlets=[*staged, *merged])(run=run)
        >> publish_summary.override(inlets=merged)(run=run)
        >> notified
    )
    if integration is None or integration.supports_optimization:
        decision = should_optimize(run=run)
        notified >> decision
        optimization = required(decision)
        TriggerDagRunOperator(
            task_id="trigger_optimization",
            trigger_dag_id=ids.carrier_optimization_dag(integration.name) if integration else TARGET_OF_SESSION,
            trigger_run_id=optimization["trigger_run_id"],
            conf=optimization["conf"],
            doc_md="Start the optimization of this session, exactly once: its run id is `session_<session id>`.",
            map_index_template="{{ task.trigger_run_id }}",
            **START_ONCE,
        )


def clear_sensor_with_fetch(dag: DAG) -> None:
    """Let a fetch task that is cleared with downstream clear the clean-up too, which then waits and merges again.

    The arrow delays nothing: by its trigger rule the sensor starts as soon as ``select_providers`` has succeeded.
    """
    dag.get_task(ids.FETCH_USAGE_TASK) >> dag.get_task(ids.WAIT_FOR_STAGING_TASK)
