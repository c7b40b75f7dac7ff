"""Delivers the AMOP callbacks and reports that other tasks could not, and ends stale work.

### What it does
* **end_stale_work** is the watchdog. Every working task sends a heartbeat every 2 minutes; a device sync run or an
  optimization session without one for 45 minutes is stale: its process was killed. It is ended with one ErrorMessage
  to AMOP, so that no progress bar stands still for ever and the provider is free. After an outage of Airflow itself the
  45 minutes start again for all of them.
* **deliver_messages** sends every message in `amop.amop_outbox` whose next try is due. A task that changes something
  writes its message in the same transaction and tries to send it at once. Whatever AMOP did not accept is sent from
  here, with back-off from 30 seconds to 15 minutes, in order within a session, always with the same `Idempotency-Key`.
* **report_refused_messages** fails when AMOP refused a message for good (a final 4xx), in whichever task that happened.
  Such a message is dead-lettered and blocks no other session. It fails one run, not every later run.
* **deliver_reports** delivers what only informs and could not be delivered at once: sync log and workbook (S3), queue
  message (SQS), report e-mail, archive. Such a failure is a warning on the run and never fails it. It is repeated after
  1 minute up to 1 hour, for 7 days, whatever becomes of the run.
* **notify_operators** sends what operators should know of: failures, outages, late syncs, reports. One message per
  cause, each once; it never fails the run. The runbook lists the kinds and how to switch them off.

### How to run it
It runs every five minutes; leave it unpaused. Triggering it by hand does no harm.

### When it fails
While AMOP is away, **deliver_messages** is up for retry (yellow) and then skipped. The outbox keeps every message:
nothing is lost. `bin/amop status` shows what is pending and since when;
`SELECT dedupe_key, attempts, last_error FROM amop.amop_outbox WHERE state <> 'sent'` shows why. `bin/amop status` also
lists refused messages; the runbook says how to send one again once its cause is fixed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from amop import ids, time_limits
from amop.tasks.amop_relay import deliver_messages, deliver_reports, end_stale_work, report_refused_messages
from amop.tasks.notifications import notify_operators
from amop.tasks.retries import RETRIES

with DAG(
    dag_id=ids.AMOP_RELAY_DAG,
    dag_display_name="AMOP relay",
    description="Retries undelivered AMOP callbacks and reports; ends stale runs and sessions; notifies operators.",
    doc_md=__doc__,
    schedule=timedelta(minutes=5),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.RELAY_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
    tags=[ids.TAG_AMOP, ids.TAG_OUTBOX],
):
    ended = end_stale_work()
    ended >> deliver_messages() >> report_refused_messages()
    ended >> notify_operators()
    deliver_reports()
