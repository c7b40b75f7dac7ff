"""Daily device sync: one DAG per integration.

### What it does
For every active service provider of the integration, side by side:

* **sync** reads the carrier's device list and the cycle-to-date usage into staging, page by page, within its limits;
* **cleanup** starts at the same time and *waits* until no work row is left. It then merges staging into the main
  tables in SQL, reports, notifies AMOP that the day is synced and, with an open session, starts
  `carrier_optimization_<integration>`.

### How to run it
* *Trigger* with the form: pick providers by name (by id before the first sync), request a full list, or force
  (`always`) or forbid (`never`) the optimization. `auto` optimizes once a day when fewer than 8 days of the billing
  period are left, and on its last day every time: the rule of `optimization_window`, which starts syncs automatically.
* `airflow dags test device_sync_jasper 2026-11-20` runs it in one process, live, as the run of that date.
* *Allow mass deactivation* lets one run deactivate more than 10 % of a fleet, missing from two full lists in a row;
  *Allow implausible answers* lets a run merge that was refused because too much changed. Check its figures first.
* **Days in the past**: `airflow backfill create` replays the carrier responses of those days into history; it calls no
  carrier, leaves `amop.device` alone and sends AMOP nothing. A day without an archive ends as *skipped* (runbook).
* A failed provider does not stop the others; the run then ends failed. Fix the cause and **clear the failed task** with
  downstream, or the run: it resumes where its ledger stopped.

### When it fails
A fetch task that is *up for reschedule* waits for a carrier that does not respond, and resumes automatically. The
failed task's log names the provider and the connection and says what to do. The same text is in
`amop.device_sync_run.error` and, if a session was open, at AMOP. Nothing is merged unless everything is staged.
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, Param

from amop import ids, time_limits
from amop.config import INTEGRATIONS, MISSED_START
from amop.tasks.back_fill import back_fill
from amop.tasks.device_sync import cleanup, clear_sensor_with_fetch, select_providers, sync
from amop.tasks.provider_names import providers_param
from amop.tasks.results import required
from amop.tasks.retries import RETRIES
from amop.tasks.staging_sensor import wait_params


def _switch(title: str, text: str) -> Param:
    return Param(False, type="boolean", title=title, description=text)


PARAMS = {
    "full_sync": _switch(
        "Full list", "Read the whole device list, not only what changed. Only a full list can mark SIMs as vanished."
    ),
    "modified_since": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Modified since",
        description="Read what changed since this moment; empty = the start of the last complete run less one day.",
    ),
    "optimization": Param(
        "auto",
        enum=["auto", "always", "never"],
        title="Optimization",
        description="auto = once a day in the period's window (its last day: always); always = now; never = only sync.",
    ),
    "allow_mass_deactivation": _switch(
        "Allow mass deactivation",
        "Deactivate the SIMs that two full lists in a row do not name, however many; only for this run.",
    ),
    "allow_implausible": _switch(
        "Allow implausible answers", "Merge beyond the plausibility limits, with warnings; first check the figures."
    ),
    **wait_params(max_tries=None, no_progress=time_limits.NO_PROGRESS),
    "notify_amop_of_back_fill": _switch("Notify AMOP of a back-fill", "Also send the notice of a back-fill run."),
}

for integration in INTEGRATIONS.values():
    with DAG(
        dag_id=ids.device_sync_dag(integration.name),
        dag_display_name=f"Device sync: {integration.display_name}",
        description=f"Daily device and usage sync of {integration.display_name}, with its clean-up beside it.",
        doc_md=__doc__,
        # Without a start date unpausing starts nothing: the first run is the next one by the clock.
        schedule=CronTriggerTimetable(integration.schedule, timezone="UTC", run_immediately=MISSED_START),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=time_limits.DEVICE_SYNC_RUN,
        default_args={"owner": ids.OWNER, **RETRIES},
        params={"service_provider_ids": providers_param(integration.name), **PARAMS},
        tags=[ids.TAG_AMOP, ids.TAG_DEVICE_SYNC],
    ) as dag:
        runs = required(select_providers(integration.name))
        sync.partial(integration=integration).expand(run=runs)
        cleanup.partial(integration=integration).expand(run=runs)
        clear_sensor_with_fetch(dag)
        back_fill(integration)
