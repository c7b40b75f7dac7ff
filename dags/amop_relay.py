"""Delivers the AMOP callbacks and reports that other tasks could not, and ends stale work.

### What it does
Its one task does all of this, each step whatever becomes of the others:

* **end_stale_work** is the watchdog. A device sync run or an optimization session whose DAG run has ended in Airflow
  (marked as success or failed, deleted) is ended within a minute. Every working task sends a heartbeat every 2 minutes;
  a run or session without one for 45 minutes is stale: its process was killed. Each is ended with one ErrorMessage to
  AMOP, so that no progress bar stands still for ever and the provider is free. After an outage of Airflow itself the
  45 minutes start again for all of them.
* **export_gauges** exports ages, backlogs, bills and savings through Airflow's metrics, where they are on.
* **deliver_messages** sends every message in `amop.amop_outbox` whose next try is due. A task that changes something
  writes its message in the same transaction and tries to send it at once. Whatever AMOP did not accept is sent from
  here, with back-off from 30 seconds to 15 minutes, in order within a session, always with the same `Idempotency-Key`.
* **report_refused_messages** fails the run when AMOP refused a message for good (a final 4xx), in whichever task that
  happened. Such a message is dead-lettered and blocks no other session. It fails one run, not every later run.
* **deliver_reports** delivers what only informs and could not be delivered at once: sync log and workbook (S3), queue
  message (SQS), report e-mail, archive. Such a failure is a warning on the run and never fails it. It is repeated after
  1 minute up to 1 hour, for 7 days, whatever becomes of the run.
* **notify_operators** sends what operators should know of: failures, outages, late syncs, reports. One message per
  cause, each once; it never fails the run. The runbook lists the kinds and how to switch them off.

### How to run it
It runs every 45 seconds; leave it unpaused. Triggering it by hand does no harm.

### When it fails
The log names the step. While AMOP is away, the task is up for retry (yellow) and then skipped. The outbox keeps every
message: nothing is lost. `bin/amop status` shows what is pending and since when, `bin/amop messages list` why.
`bin/amop messages resend` sends refused messages again once their cause is fixed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from amop import ids, time_limits
from amop.tasks.amop_relay import watch_and_deliver
from amop.tasks.retries import RETRIES

with DAG(
    dag_id=ids.AMOP_RELAY_DAG,
    dag_display_name="Relay and watchdog",
    description="Retries undelivered AMOP callbacks and reports; ends stale runs and sessions; notifies operators.",
    doc_md=__doc__,
    schedule=timedelta(seconds=45),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.RELAY_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
    tags=[ids.TAG_AMOP, ids.TAG_OUTBOX],
):
    watch_and_deliver()
