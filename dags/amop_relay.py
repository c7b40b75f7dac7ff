"""Delivers to AMOP what the other DAGs could not.

### What it does
* **end_silent_sessions** ends optimization sessions that gave no sign of life for 6 hours (their process was killed),
  with one ErrorMessage to AMOP, so that a progress bar never stands still for ever.
* **deliver_messages** sends every message in `amop.amop_outbox` whose next try is due. A task that changes something
  writes its message in the same transaction and tries to send it at once; what AMOP did not take is sent from here,
  with back-off from 30 seconds to 15 minutes, in order within a session, always with the same `Idempotency-Key`.

### How to run it
It runs every five minutes; leave it unpaused. Triggering it by hand does no harm.

### When it fails
The outbox keeps every message: nothing is lost. `bin/amop status` shows what waits and since when;
`SELECT dedupe_key, attempts, last_error FROM amop.amop_outbox WHERE state <> 'sent'` shows why. A message of state
`dead` was refused by AMOP itself (4xx): mend the cause and set its state to `pending`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from amop import ids
from amop.orchestration.amop_relay import deliver_messages, end_silent_sessions

with DAG(
    dag_id=ids.AMOP_RELAY_DAG,
    dag_display_name="AMOP relay",
    description="Delivers to AMOP what a crash or an outage left in the outbox.",
    doc_md=__doc__,
    schedule=timedelta(minutes=5),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    default_args={"owner": ids.OWNER, "retries": 1, "retry_delay": timedelta(seconds=30)},
    tags=[ids.TAG_AMOP, ids.TAG_OUTBOX],
):
    end_silent_sessions() >> deliver_messages()
