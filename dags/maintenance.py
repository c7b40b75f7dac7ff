"""Deletes what is old and needed by nothing any more.

### What it does
Every day, each of its own and in small transactions:

* **archive_leftovers** archives answers of the carrier that the archive could not take when their run ended;
* **remove_staging**, **remove_ledger** take staging, pages and work rows of ended sync runs, and old runs;
* **remove_messages** takes messages that AMOP took, or refused for good;
* **remove_quarantine** takes quarantined records that were resolved, and much older ones that nobody resolved;
* **remove_optimization_devices** takes what optimizations of long closed billing periods hold of single SIMs; their
  bills, plan changes and realised savings stay;
* **remove_archive** takes the archive's oldest days; **remove_history** takes daily usage, one billing period at a
  time, and what SIMs were before.

The ages are in `amop.config.RETENTION`, nowhere else. Whatever its age, this stays: everything of a running run or
session, messages that wait, answers that are not archived, the latest complete run and full list of each provider, and
the usage of a billing period whose plan changes wait for a person.

### How to run it
It runs every day; leave it unpaused. *Trigger* with the form to use other ages once, for instance when a disk is full;
the form refuses ages that would take away what is still needed.

### When it fails
Nothing is lost and nothing is half done: the next run deletes what is left. The log shows how far it came. A failed
`archive_leftovers` means that the archive (Variable `amop_archive_path`) cannot be written: until then the warehouse
keeps the answers, and the staging of their runs.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from amop import ids, time_limits
from amop.orchestration.maintenance import (
    archive_leftovers,
    remove_archive,
    remove_history,
    remove_ledger,
    remove_messages,
    remove_optimization_devices,
    remove_quarantine,
    remove_staging,
    retention_params,
)

with DAG(
    dag_id=ids.MAINTENANCE_DAG,
    dag_display_name="Maintenance",
    description="Deletes what is old and not needed: staging, ledger, messages, quarantine, archive, history, results.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # one deletion at a time is load enough
    dagrun_timeout=time_limits.MAINTENANCE_RUN,
    default_args={"owner": ids.OWNER, "retries": 2, "retry_delay": timedelta(minutes=5)},
    params=retention_params(),
    tags=[ids.TAG_AMOP, ids.TAG_MAINTENANCE],
):
    archive_leftovers()
    remove_staging()
    remove_ledger()
    remove_messages()
    remove_quarantine()
    remove_optimization_devices()
    remove_archive()
    remove_history()
