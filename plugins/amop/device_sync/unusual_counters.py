"""Warn of counters of single SIMs that cannot be right: the limits of a fleet never see one SIM.

The merge takes them, because the carrier bills by them; the warning names the SIMs, is shown with the run, and lets
plan changes that are built on it wait for an approval.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.device_sync.store import plausibility as store
from amop.device_sync.store.plausibility import UnusualCounters
from amop.runs.store.sync_runs import SyncRun, add_run_warning
from amop.wording import several

log = logging.getLogger(__name__)

RADIO_BYTES_PER_SECOND = 375_000_000
"""3 Gbit/s: the downlink peak of LTE-Advanced, 2,998.56 Mbit/s of UE category 8 (3GPP TS 36.306, table 4.1-1)."""

COUNTED_BEFORE = timedelta(days=1)
"""Daily counters begin with the first day of the cycle, in UTC: usage up to a day older may be in them."""

LEAST_FALL = Decimal("0.1")
"""A counter that falls by a smaller share is a correction of the carrier's."""

LEAST_FALL_BYTES = 1_048_576
LEAST_FALL_UNITS = 10
"""Messages, or seconds of voice. Falls by less are not named."""

UNITS = {"DATA": "bytes", "SMS": "messages", "VOICE": "seconds"}


def warn_of_unusual_counters(connection: WarehouseConnection, run: SyncRun) -> None:
    """Store a warning for each kind of unusual counter that the merge of a run has taken, with the SIMs."""
    if run.usage_as_of is None:
        return
    most = most_bytes(run.usage_as_of - run.cycle_start)
    found = store.unusual_counters(
        connection,
        most_bytes=most,
        least_share=LEAST_FALL,
        least_bytes=LEAST_FALL_BYTES,
        least_units=LEAST_FALL_UNITS,
    )
    for unusual in found:
        text = _sentence(unusual, most)
        log.warning("%s, run %s: %s", run.label, run.id, text)
        add_run_warning(connection, run_id=run.id, warning=text)


def most_bytes(elapsed: timedelta) -> int:
    """Return the bytes that a radio can carry in a cycle of which a time has elapsed."""
    return int((max(elapsed, timedelta(0)) + COUNTED_BEFORE).total_seconds()) * RADIO_BYTES_PER_SECOND


def _sentence(unusual: UnusualCounters, most: int) -> str:
    sims, unit = several(unusual.sims, "SIM"), UNITS[unusual.usage_type]
    samples = f"{', '.join(unusual.samples)} {unit}{' and others' if unusual.sims > len(unusual.samples) else ''}"
    if unusual.kind == "impossible":
        return (
            f"the data usage of {sims} is above {most:,} bytes, which no radio could carry since the billing period "
            f"began (3 Gbit/s, LTE-Advanced): {samples}. Check it at the carrier"
        )
    return (
        f"the {unusual.usage_type} counter of {sims} fell within the billing period: {samples}. It was taken as the "
        "carrier gives it; check it there"
    )
