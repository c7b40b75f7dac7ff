"""Add the communication plans that the carrier uses for the first time."""

from __future__ import annotations

import logging
from datetime import datetime

from amop.database.connection import transaction
from amop.device_sync.store import merges
from amop.runs.sync_runs import running_run

log = logging.getLogger(__name__)

LOGGED_NAMES = 20
"""Names of new plans in the log; `amop.communication_plan` has all."""


def update_communication_plans(conninfo: str, run_id: int, *, now: datetime) -> list[str]:
    """Add the communication plans of a run's list that the warehouse does not have; return their names.

    Raises:
        SyncRunEndedError: the run has ended.
    """
    with transaction(conninfo, application_name="amop update_communication_plans") as connection:
        run = running_run(connection, run_id)
        names = merges.insert_communication_plans(
            connection, run_id=run_id, service_provider_id=run.service_provider_id, now=now
        )
    if names:
        log.warning(
            "%s: %s new communication plans need to be associated to rate plans in order to optimize or deactivate "
            "devices: %s%s",
            run.service_provider_name,
            len(names),
            ", ".join(sorted(names)[:LOGGED_NAMES]),
            " …" if len(names) > LOGGED_NAMES else "",
        )
    return sorted(names)
