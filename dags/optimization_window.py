"""Starts the optimizations near the end of each provider's billing period.

### What it does
Five minutes past every hour, and whenever an optimization or its plan changes have ended, it finds the providers that
are due and starts `device_sync_<integration>` for them with `optimization=always`:

* **find_open_windows**: a provider is due when fewer than 8 days are left to its period's end, its local hour has
  reached `optimization_start_hour_local`, no session of the period has completed on its local day, and no session, sync
  or plan change of the provider is in progress. All dates are local to the provider's time zone.
* **start_device_sync** starts one run for each integration with the ids of its due providers. The run id is derived
  from the id of this run: a cleared or retried check never starts a second sync.

**On the last day** a completed session is no reason to wait: as soon as its plan changes are settled the next check
follows and starts the next sync, one after the other until the period ends. While changes await approval or are being
applied, it waits for two hours at most; then the next session withdraws them and proposes its own.

**A session that failed** is tried again at the next hourly check, at least 30 minutes later. After three failures in a
row an operator must act, except on the last day. A cancelled session stands for the day.

### How to run it
Unpause it. While it is paused nothing is lost: the daily sync still optimizes once a day inside the window
(`optimization=auto`, the same rule). *Trigger* runs one more check now and does no harm.

### When it fails
The log of `find_open_windows` names the providers that are due and says why one is not started. It fails only when the
warehouse cannot be reached, and the next check makes up for it. A provider that cannot be checked (a locked row, a
wrong time zone) stops no other: `report_failed_checks` fails and names it. `start_device_sync` fails with
*Dag … is paused* while the sync of an integration is paused. The syncs that it starts are runs of their own,
`optimization_window__…`.
"""

from __future__ import annotations

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from amop import ids, time_limits
from amop.tasks.optimization_window import any_optimization_result, window_steps
from amop.tasks.retries import RETRIES

with DAG(
    dag_id=ids.OPTIMIZATION_WINDOW_DAG,
    dag_display_name="Optimization window",
    description="Starts sync and optimization of the providers whose billing period ends soon.",
    doc_md=__doc__,
    # Not on the quarter hours: the daily syncs start there, and a provider would be due twice at the same moment.
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("5 * * * *", timezone="UTC"), assets=any_optimization_result()
    ),
    is_paused_upon_creation=True,  # it starts syncs automatically: unpause it once the providers are set up
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.OPTIMIZATION_WINDOW_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
    tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
):
    window_steps()
