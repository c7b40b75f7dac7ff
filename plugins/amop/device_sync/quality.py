"""Check that a run lost nothing: SIMs listed = SIMs merged + SIMs quarantined."""

from __future__ import annotations

import logging

from amop.database.connection import WarehouseConnection, transaction
from amop.device_sync.rows import RunBalance
from amop.device_sync.store import merges
from amop.log_lines import figures
from amop.runs.errors import BalanceError
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import running_run

log = logging.getLogger(__name__)


def check_quality(conninfo: str, run_id: int) -> RunBalance:
    """Check the balance of a running run and return it.

    Raises:
        BalanceError: see `check_balance`.
        SyncRunEndedError: the run has ended.
    """
    with transaction(conninfo, application_name="amop check_quality") as connection:
        return check_balance(connection, running_run(connection, run_id))


def check_balance(connection: WarehouseConnection, run: SyncRun) -> RunBalance:
    """Check that every listed SIM was merged or quarantined; return the figures.

    Raises:
        BalanceError: some were not; the message carries the figures.
    """
    balance = merges.run_balance(connection, run_id=run.id, service_provider_id=run.service_provider_id)
    if balance.devices_seen != balance.devices_merged + balance.devices_quarantined:
        raise BalanceError(
            f"{run.label}, run {run.id}: {balance.devices_seen} SIMs were listed, but {balance.devices_merged} merged "
            f"and {balance.devices_quarantined} quarantined"
        )
    log.info("%s: %s", run.service_provider_name, figures(balance))
    return balance
