"""End the plan changes that still wait for a later optimization when their billing period has closed."""

from __future__ import annotations

import logging
from datetime import datetime

from amop.database.connection import transaction
from amop.plan_changes import store
from amop.plan_changes.rules import ChangesStatus, reason_with_waiting, waiting_words
from amop.plan_changes.store.decisions import SYSTEM_ACTOR
from amop.wording import several

log = logging.getLogger(__name__)

NOT_SENT_IN_TIME = "waited, but the billing period ended before a later optimization decided on it; it was not sent"
"""Reason of such a change, in place of that for which it waited."""


def end_waiting_changes(conninfo: str, *, now: datetime) -> int:
    """Reject the changes that wait within a closed billing period, with the reason; return their number.

    The reason of their instance is written anew from the stored decision. An instance of which nothing else is proposed
    becomes ``no_go``; one with other proposed changes (a test of the DAG) stays ``proposed_only``, as they do.

    The session that they waited for has failed, or did not start. Repeating it changes nothing.

    Args:
        conninfo: the warehouse.
        now: the present time, aware.
    """
    with transaction(conninfo, application_name="amop end_waiting_changes") as connection:
        ended = store.decisions.end_waiting(connection, reason=NOT_SENT_IN_TIME, decided_by=SYSTEM_ACTOR, now=now)
        for instance in ended:
            status = instance.changes_status
            if status == ChangesStatus.PROPOSED_ONLY and not instance.has_proposed:
                status = ChangesStatus.NO_GO
            waited = waiting_words(instance.change_count, NOT_SENT_IN_TIME)
            store.decisions.set_ended(
                connection,
                instance_id=instance.instance_id,
                status=status,
                reason=reason_with_waiting(status, instance.decision, waited),
            )
    for instance in ended:
        log.warning(
            "%s: %s of instance %s waited until the billing period ended, and %s not sent",
            instance.service_provider_name,
            several(instance.change_count, "plan change"),
            instance.instance_id,
            "was" if instance.change_count == 1 else "were",
        )
    return sum(instance.change_count for instance in ended)
