"""Deletes expired data that no unfinished work needs.

### What it does
Every day, independently and in small transactions:

* **archive_leftovers** archives carrier responses that could not be archived when their run ended;
* **remove_staging** and **remove_ledger** delete staging, pages and work rows of ended sync runs, and expired runs;
* **remove_messages** deletes messages that AMOP accepted, or refused for good;
* **remove_quarantine** deletes quarantined records that were resolved, and much older unresolved ones;
* **remove_optimization_devices** deletes the per-SIM rows of optimizations of billing periods that closed long ago;
  their bills, plan changes and realised savings stay;
* **remove_archive** deletes the oldest days of the archive; **remove_history** deletes daily usage, one billing period
  at a time, and the history of SIMs.

The ages are in `amop.config.RETENTION` and nowhere else. Whatever its age, this stays: everything of a running run or
session, pending messages, responses that are not archived, the latest complete run and full list of each provider, and
the usage of a billing period whose plan changes await approval.

### How to run it
It runs every day; leave it unpaused. *Trigger* with the form to use other ages once, for instance when a disk is full;
the form refuses ages that would delete data that is still needed.

### When it fails
Nothing is lost and nothing is half done: the next run deletes the rest. The log shows how far it came. A failed
`archive_leftovers` means that the archive (Variable `amop_archive_path`) cannot be written: until then the warehouse
keeps the responses, and the staging of their runs.
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable

from amop import ids, time_limits
from amop.config import MISSED_START
from amop.tasks.maintenance import (
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
from amop.tasks.retries import RETRIES

with DAG(
    dag_id=ids.MAINTENANCE_DAG,
    dag_display_name="Maintenance",
    description="Deletes expired rows: staging, ledger, messages, quarantine, archive, history, results.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC", run_immediately=MISSED_START),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # one deletion at a time limits the load
    dagrun_timeout=time_limits.MAINTENANCE_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
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
