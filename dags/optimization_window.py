"""Starts the optimizations near the end of each provider's billing period.

### What it does
Five minutes past every hour, and whenever an optimization or its plan changes have ended, it looks for the providers
that are due and starts `device_sync_<integration>` for them with `optimization=always`:

* **find_open_windows**: a provider is due when fewer than 8 days are left to its period's end, its local hour has
  reached `optimization_start_hour_local`, no session of the period has completed on its local day, and no session, sync
  or plan change of it is under way. All dates are the provider's own, in its time zone.
* **start_device_sync** starts one run for each integration with the ids of its due providers. Its run id is made of
  this run's: clearing or retrying a look never starts a second sync.

**On the last day** a completed session is no reason to wait: when its plan changes are settled the next look follows at
once and starts the next sync, one after the other until the period ends. While a person is asked about changes or they
are applied, it waits for two hours at most; then the next session takes them back and proposes its own.

**A session that failed** is tried again at the next hourly look, at least 30 minutes later; after three failures in a
row the rest of the day is left to a person, except on the last day. A cancelled session stands for the day.

### How to run it
Unpause it. Paused, nothing is lost: the daily sync still optimizes once a day inside the window (`optimization=auto`,
the same rule). *Trigger* looks once more now and does no harm.

### When it fails
`find_open_windows` says in its log who is due and why somebody is not started. It fails only when the warehouse is out
of reach, and the next look makes up for it. `start_device_sync` fails with *Dag … is paused* while the sync of an
integration is paused. What the started syncs do is in their own runs, `optimization_window__…`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from amop import ids, time_limits
from amop.orchestration.optimization_window import any_optimization_result, window_steps

with DAG(
    dag_id=ids.OPTIMIZATION_WINDOW_DAG,
    dag_display_name="Optimization window",
    description="Starts sync and optimization of the providers whose billing period ends soon.",
    doc_md=__doc__,
    # Not on the quarter hours: the daily syncs start there, and a provider would be due twice at the same moment.
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("5 * * * *", timezone="UTC"), assets=any_optimization_result()
    ),
    is_paused_upon_creation=True,  # it starts syncs by itself: an operator unpauses it when the providers are set up
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.OPTIMIZATION_WINDOW_RUN,
    default_args={"owner": ids.OWNER, "retries": 2, "retry_delay": timedelta(seconds=10)},
    tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
):
    window_steps()
