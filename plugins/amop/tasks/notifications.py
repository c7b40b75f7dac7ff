"""The step of ``amop_relay`` that notifies operators."""

from __future__ import annotations

import logging

from airflow.sdk.exceptions import AirflowTaskTimeout

from amop.tasks.connections import warehouse_conninfo, warehouse_now

log = logging.getLogger(__name__)


def notify_operators() -> None:
    """Write what operators should know of, and send it, one message per cause; never fails the run."""
    from amop.notifications.collect import collect
    from amop.notifications.deliver import deliver
    from amop.tasks.dag_runs import airflow_address
    from amop.tasks.notifiers import kinds_off, sender, sync_due_hour

    try:
        send, conninfo, now = sender(), warehouse_conninfo(), warehouse_now()
        collect(conninfo, now=now, off=kinds_off(), due_hour=sync_due_hour(), can_send=send is not None)
        if send is not None:
            done = deliver(conninfo, send, base_url=airflow_address(), now=now)
            log.info("%s messages sent, %s could not be sent", done.messages, done.failures)
    except (Exception, AirflowTaskTimeout):
        log.exception("Operators were not notified; the next run tries again")
