"""Delivers to AMOP what the other DAGs could not.

### What it does
* **end_silent_sessions** is the watchdog: every working task says that it lives every 2 minutes; device sync runs and
  optimization sessions that are silent for 45 minutes have died (their process was killed). They are ended with one
  ErrorMessage to AMOP, so that no progress bar stands still for ever and nobody is blocked. After an outage of Airflow
  itself everybody gets the whole 45 minutes again.
* **deliver_messages** sends every message in `amop.amop_outbox` whose next try is due. A task that changes something
  writes its message in the same transaction and tries to send it at once; what AMOP did not take is sent from here,
  with back-off from 30 seconds to 15 minutes, in order within a session, always with the same `Idempotency-Key`.
* **report_refused_messages** fails when AMOP refused a message for good (a final 4xx), whichever task met that. Such a
  message is set aside and holds up no other session; it fails one run, not every run from then on.

### How to run it
It runs every five minutes; leave it unpaused. Triggering it by hand does no harm.

### When it fails
The outbox keeps every message: nothing is lost. `bin/amop status` shows what waits and since when;
`SELECT dedupe_key, attempts, last_error FROM amop.amop_outbox WHERE state <> 'sent'` shows why. A refused message is
listed by `bin/amop status`; the runbook says how to send it again once the cause is mended.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from amop import ids, time_limits
from amop.orchestration.amop_relay import deliver_messages, end_silent_sessions, report_refused_messages

with DAG(
    dag_id=ids.AMOP_RELAY_DAG,
    dag_display_name="AMOP relay",
    description="Delivers what a crash or an outage left in the outbox; ends what died without a word.",
    doc_md=__doc__,
    schedule=timedelta(minutes=5),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.RELAY_RUN,
    default_args={"owner": ids.OWNER, "retries": 1, "retry_delay": timedelta(seconds=30)},
    tags=[ids.TAG_AMOP, ids.TAG_OUTBOX],
):
    end_silent_sessions() >> deliver_messages() >> report_refused_messages()
