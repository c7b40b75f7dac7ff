"""A sync task's access to its carrier: the client, and what happens while the carrier is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from amop import time_limits
from amop.carriers.errors import CarrierUnavailableError
from amop.carriers.protocol import CarrierClient
from amop.database.connection import transaction
from amop.runs.sync_runs import load_run
from amop.tasks.connections import carrier_client
from amop.tasks.frames import SyncWork

log = logging.getLogger(__name__)


@contextmanager
def carrier_of(work: SyncWork) -> Iterator[CarrierClient]:
    """Yield a client of the run's carrier; while the carrier is away, give the slot back until the next call is due.

    Raises:
        AirflowRescheduleException: the carrier is away; the task runs again when its circuit admits a call.
        AirflowFailException: it has been away for too long.
    """
    with transaction(work.conninfo, application_name="amop carrier_of") as connection:
        integration = load_run(connection, work.run_id).integration
    try:
        with carrier_client(work.run["connection_id"], work.run["service_provider_name"], integration) as client:
            yield client
    except CarrierUnavailableError as error:
        if error.retry_at is None:
            raise
        with transaction(work.conninfo, application_name="amop carrier_of") as connection:
            moved_at = load_run(connection, work.run_id).progress_at
        if error.retry_at - moved_at > time_limits.CARRIER_OUTAGE:
            raise AirflowFailException(
                f"{error}. The run has made no progress since {moved_at:%Y-%m-%d %H:%M:%S} UTC and has failed"
            ) from None
        log.warning("%s. The task resumes at %s", error, error.retry_at)
        raise AirflowRescheduleException(error.retry_at) from None
