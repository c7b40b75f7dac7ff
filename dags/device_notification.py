"""Clean-up of what the existing system has staged, started by its queue messages.

### What it does
While the existing system still reads the carriers, this package may take over the clean-up. The existing system fills
the staging tables (docs/staging-contract.md) and puts its message on the device notification queue:

* **receive_messages** records every message in `amop.queue_message` and deletes it from the queue after that is
  committed. Delivered five times, it has one effect. Messages of this package itself (`Source=airflow`) start nothing.
* **cleanup** is that of `device_sync_<integration>`: it waits until no work row of the run is left, merges, reports,
  notifies AMOP and starts the optimization if the message asked for it (`ShouldQueueCarrierOptimization`) and the
  integration is optimized. It waits `MaxRetries` times `DelayBetweenRetries` seconds, 14 × 300 by default.

### How to run it
Set Variable `amop_device_notification_queue` (name or URL of the queue) and **unpause** the DAG: its watcher then
starts a run for every batch of messages. Let no other consumer read the same queue. *Trigger* reads the queue once.

### When it fails
`report_rejected` fails and names every message that cannot be used (unknown `IntegrationType`, no open staging, …). It
is in the dead-letter queue with attribute `Reason`, and in `bin/amop messages received`. `wait_for_staging` fails when
the tries are used up: run and session end with one ErrorMessage, and the work rows stay as they are.
`bin/amop messages check RUN` says what of the staging is not as it should be. Clear the sensor to wait again.
"""

from __future__ import annotations

from airflow.sdk import DAG

from amop import ids, time_limits
from amop.tasks.device_notification import notification_steps
from amop.tasks.notification_queue import notifications_asset
from amop.tasks.retries import RETRIES
from amop.tasks.staging_sensor import wait_params

with DAG(
    dag_id=ids.DEVICE_NOTIFICATION_DAG,
    dag_display_name="Device notification",
    description="Clean-up of what the existing system has staged, started by its queue messages.",
    doc_md=__doc__,
    schedule=[notifications_asset()],
    is_paused_upon_creation=True,  # it consumes the queue: unpause it when no other system does
    catchup=False,
    max_active_runs=16,
    dagrun_timeout=time_limits.DEVICE_SYNC_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
    params=wait_params(max_tries=14, no_progress=None),
    tags=[ids.TAG_AMOP, ids.TAG_DEVICE_SYNC],
):
    notification_steps()
