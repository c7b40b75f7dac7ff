"""Daily device sync: one DAG per integration.

### What it does
For every active service provider of the integration, side by side:

* **sync** reads the carrier's device list and the cycle-to-date usage into staging, page by page, inside the vendor's
  limit of 5 calls a second and one call at a time per API user;
* **cleanup** starts with it and *waits* until no work row is left, then brings staging to the main tables in SQL,
  reports, tells AMOP that the day is synced and, when an optimization session is open, starts
  `carrier_optimization_<integration>`.

### How to run it
* *Trigger* with the form: pick providers by id, ask for a full list, or force (`always`) or forbid (`never`) the
  optimization. `auto` optimizes once a day when fewer than 8 days of the billing period are left, and on its last day
  every time: the rule of `optimization_window`, which starts syncs by itself there.
* `airflow dags test device_sync_jasper` runs it in one process, live, as a new run.
* *Allow mass deactivation* lets one run deactivate more than 10 % of a fleet, which is refused otherwise; SIMs go only
  when two full lists in a row do not name them.
* **Days in the past**: `airflow backfill create` replays what the syncs of those days had received into history; no
  carrier, no change of `amop.device`, no AMOP. A day without an archive ends as *skipped*. Runbook: "Back-fill".
* A failed provider does not stop the others; the run then ends failed. Mend the cause and **clear the failed task**
  (with downstream): it goes on where its ledger stopped.

### When it fails
A fetch task that is *up for reschedule* waits for a carrier that does not answer, and goes on by itself.
The failed task's log says which provider and connection, what was asked and what to do. The same text is in
`amop.device_sync_run.error`, and AMOP got it as one ErrorMessage if a session was open. Nothing is merged unless the
whole list and all usage are staged.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.orchestration.back_fill import back_fill
from amop.orchestration.device_sync import cleanup, select_providers, sync

PARAMS = {
    "service_provider_ids": Param(
        [],
        type="array",
        items={"type": "integer", "minimum": 1},
        title="Service providers",
        description="Ids of the providers to sync; empty = all active ones of this integration.",
    ),
    "full_sync": Param(
        False,
        type="boolean",
        title="Full list",
        description="Read the whole device list, not only what changed. Only a full list can mark SIMs as vanished.",
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
        description="auto = when the billing period's window is open and the day has no completed session yet (on its "
        "last day always); always = now; never = only sync.",
    ),
    "allow_mass_deactivation": Param(
        False,
        type="boolean",
        title="Allow mass deactivation",
        description="Deactivate the SIMs that two full lists in a row do not name, however many; only for this run.",
    ),
    "notify_amop_of_back_fill": Param(
        False,
        type="boolean",
        title="Notify AMOP of a back-fill",
        description="A back-fill run sends AMOP the daily-sync notice, too. Live runs always do.",
    ),
}

for integration in INTEGRATIONS.values():
    with DAG(
        dag_id=ids.device_sync_dag(integration.name),
        dag_display_name=f"Device sync: {integration.display_name}",
        description=f"Daily device and usage sync of {integration.display_name}, with its clean-up beside it.",
        doc_md=__doc__,
        # Without a start date unpausing starts nothing: the first run is the next one by the clock.
        schedule=CronTriggerTimetable(integration.schedule, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=time_limits.DEVICE_SYNC_RUN,
        default_args={"owner": ids.OWNER, "retries": 2, "retry_delay": timedelta(seconds=10)},
        params=PARAMS,
        tags=[ids.TAG_AMOP, ids.TAG_DEVICE_SYNC],
    ) as dag:
        runs = select_providers(integration.name)
        sync.partial(integration=integration).expand(run=runs)
        cleanup.partial(integration=integration).expand(run=runs)
        back_fill(integration)
