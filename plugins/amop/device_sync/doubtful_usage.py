"""Single reads of the SIMs whose bulk usage is not believed as it is, within the provider's budget of calls.

A single read replaces the bulk usage of its SIM. These SIMs are read, in this order, until the budget of the run
(``service_provider.usage_calls_per_run``) is spent:

1. SIMs whose rate plan changed within the billing period: it is not known whether the carrier's bulk usage attributes
   usage to the present plan or to the plan at the time of use.
2. Of each rate plan the `PROOF_READS` SIMs whose counter the bulk usage lowers most, and as many chosen at random. They
   prove or disprove the fall of the others.
3. The other SIMs whose counter the bulk usage lowers, and SIMs without bulk usage because the carrier refused it, those
   with the largest counter first.

A SIM that is not read keeps its counter and is unconfirmed, unless the proof of its plan is complete.
"""

from __future__ import annotations

import logging
from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.device_sync.store import reads
from amop.runs.store.sync_runs import SyncRun

log = logging.getLogger(__name__)

PROOF_READS = 10
"""Number of single reads that prove a plan's falls; all of them are needed where fewer counters fell."""


def queue_single_reads(connection: WarehouseConnection, run: SyncRun, now: datetime) -> bool:
    """Queue the single reads that the bulk usage of a run makes necessary; return True if any is queued.

    Call it in the transaction that finishes the last work row: the clean-up starts when none is left. Repeating it
    queues no SIM twice and does not exceed the budget.
    """
    if now >= run.cycle_end:
        # A single read would return the counters of the next cycle.
        return False
    reads.collect_present_devices(connection, run_id=run.id)
    reads.compare_usage(connection, run_id=run.id)
    _remember_refused_plans(connection, run, now)
    found = reads.queue_single_reads(
        connection, run_id=run.id, maximum_reads=run.usage_calls_per_run, proof_reads=PROOF_READS
    )
    if found.queued:
        log.warning(
            "%s: the bulk usage of %s SIMs is in doubt or was refused; %s of them are read one by one, the others keep "
            "their counters unless the reads prove the bulk usage (service_provider.usage_calls_per_run is %s)",
            run.service_provider_name,
            found.doubtful,
            found.queued,
            run.usage_calls_per_run,
        )
    return bool(found.queued)


def _remember_refused_plans(connection: WarehouseConnection, run: SyncRun, now: datetime) -> None:
    plans = reads.remember_refused_plans(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        maximum_reads=run.usage_calls_per_run,
        now=now,
    )
    for plan in plans:
        log.warning(
            "%s: the carrier refuses the bulk usage of rate plan %r: %s. The plan counts as shared from now on: its %s "
            "SIMs cost one call each in every sync, at most %s calls in all (service_provider.usage_calls_per_run). If "
            "it is a shared plan, set is_shared in the reference file; a full list tries the bulk usage again",
            run.service_provider_name,
            plan.rate_plan_code,
            plan.reason,
            plan.device_count,
            run.usage_calls_per_run,
        )
