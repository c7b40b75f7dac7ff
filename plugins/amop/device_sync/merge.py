"""Merge a run's staging into the main tables, completely or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection, transaction
from amop.device_sync.doubtful_usage import PROOF_READS
from amop.device_sync.history import record_changed_devices, record_synced_usage
from amop.device_sync.plausibility import refuse_implausible
from amop.device_sync.progress import staging_progress
from amop.device_sync.rows import DeviceCounts
from amop.device_sync.store import merges, reads, records
from amop.device_sync.unusual_counters import warn_of_unusual_counters
from amop.log_lines import figures
from amop.runs.errors import MergeRefusedError
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import newer_merged_run, outdated_text, require_step, running_run

log = logging.getLogger(__name__)


def merge_devices(conninfo: str, run_id: int, *, now: datetime) -> DeviceCounts:
    """Merge the staged SIMs into ``amop.device``, once per run.

    A SIM missing from an exact full list is recorded as missing; one missing from two such lists in a row is
    deactivated.

    Raises:
        MergeRefusedError: the list is incomplete, too many records are bad, the answers are implausible, too much of
            the fleet would be deactivated, or a run that began later has merged already.
    """
    with transaction(conninfo, application_name="amop merge_devices") as connection:
        run = _lock_run(connection, run_id)
        if run.devices_merged_at is None:
            counts = _merge_staged_devices(connection, run, now)
        else:
            counts = DeviceCounts(run.devices_inserted, run.devices_updated, run.devices_vanished, run.devices_missing)
    log.info("%s: devices merged, %s", run.service_provider_name, figures(counts))
    return counts


def _lock_run(connection: WarehouseConnection, run_id: int) -> SyncRun:
    """Take the provider's lock and return the running run: one writer per provider, and nothing older over newer.

    Raises:
        MergeRefusedError: a run that began later has merged already.
    """
    run = running_run(connection, run_id)
    merges.lock_provider(connection, service_provider_id=run.service_provider_id)
    merges.prepare_for_all_devices(connection)
    newer = newer_merged_run(connection, run)
    if newer is not None:
        raise MergeRefusedError(outdated_text(run, newer))
    # Loaded again: the run may have been merged or ended while this process waited for the lock.
    return running_run(connection, run_id)


def _merge_staged_devices(connection: WarehouseConnection, run: SyncRun, now: datetime) -> DeviceCounts:
    refuse_unless_complete(connection, run)
    collect_list_changes(connection, run)
    with _joins_by_hash(connection):
        refuse_implausible(connection, run)
    provider_id = run.service_provider_id
    inserted = merges.count_new_devices(connection)
    written = merges.merge_devices(connection, service_provider_id=provider_id, now=now)
    merges.record_imei_changes(connection, run_id=run.id, service_provider_id=provider_id, now=now)
    merges.merge_details(connection, run_id=run.id, service_provider_id=provider_id, now=now)
    records.supersede_details(connection, run_id=run.id, service_provider_id=provider_id, now=now)
    is_exact_full = run.is_full and run.list_is_exact
    vanished, missing = _deactivate_vanished(connection, run, now) if is_exact_full else (0, 0)
    merges.clear_missing_devices(connection, run_id=run.id, service_provider_id=provider_id)
    records.supersede_devices(
        connection, run_id=run.id, service_provider_id=provider_id, is_exact_full=is_exact_full, now=now
    )
    record_changed_devices(connection, run)
    counts = DeviceCounts(inserted, written - inserted, vanished, missing)
    merges.record_device_merge(
        connection,
        run_id=run.id,
        devices_inserted=counts.devices_inserted,
        devices_updated=counts.devices_updated,
        devices_vanished=counts.devices_vanished,
        devices_missing=counts.devices_missing,
        now=now,
    )
    return counts


@contextmanager
def _joins_by_hash(connection: WarehouseConnection) -> Iterator[None]:
    """Avoid nested loops for statements that join all staged rows of a run, until the body ends or fails."""
    merges.set_nested_loops(connection, setting="off")
    yield
    merges.set_nested_loops(connection, setting="on")


def collect_list_changes(connection: WarehouseConnection, run: SyncRun, *, iccids: list[str] | None = None) -> None:
    """Create ``list_change``: the SIMs in which the run's list, or these SIMs of it, and the warehouse differ."""
    merges.collect_list_changes(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        is_full=run.is_full and iccids is None,
        is_repeated=merges.find_repeated_device(connection, run_id=run.id),
        iccids=iccids,
    )
    merges.analyze_list_changes(connection)


def refuse_unless_complete(connection: WarehouseConnection, run: SyncRun) -> None:
    """Refuse a sync that is not complete or has too many bad records.

    One bad record alone never refuses it, unless the provider's share is 0: an incremental list may have few SIMs.

    Raises:
        MergeRefusedError: with the figures.
    """
    progress = staging_progress(connection, run.id)
    work_rows_left = progress.work_rows_left if progress else 0
    if not run.list_is_complete or work_rows_left:
        raise MergeRefusedError(
            f"{run.label}, run {run.id}: the sync is not complete ({work_rows_left} work rows left); nothing was merged"
        )
    count = records.count_bad_records(
        connection, run_id=run.id, devices_seen=run.devices_seen, maximum_bad_share=run.maximum_bad_share
    )
    for bad, read, where in (
        (count.devices_bad, count.devices_read, "the device list"),
        (count.sims_bad, count.sims_read, "the device list or their usage"),
    ):
        tolerated = max(read * run.maximum_bad_share, Decimal(1)) if run.maximum_bad_share else Decimal(0)
        if bad > tolerated:
            raise MergeRefusedError(
                f"{run.label}, run {run.id}: {bad} of {read} SIMs have bad records in {where}, more than the allowed "
                f"share {run.maximum_bad_share} (service_provider.maximum_bad_share); see `bin/amop quarantine list "
                f"--run {run.id}`; nothing was merged"
            )


def _deactivate_vanished(connection: WarehouseConnection, run: SyncRun, now: datetime) -> tuple[int, int]:
    """Deactivate the SIMs missing from two exact full lists in a row; record those missing for the first time.

    Returns the number of deactivated and of recorded SIMs.

    Raises:
        MergeRefusedError: too much of the fleet would be deactivated, and no operator has allowed it.
    """
    provider_id = run.service_provider_id
    fleet = merges.count_active_devices(connection, service_provider_id=provider_id)
    vanished = merges.deactivate_vanished_devices(connection, run_id=run.id, service_provider_id=provider_id, now=now)
    missing = merges.record_missing_devices(connection, run_id=run.id, now=now)
    if Decimal(vanished) / max(fleet, 1) > run.maximum_vanished_share and not run.allows_mass_deactivation:
        # The transaction is rolled back: neither these SIMs nor anything else of this run is written.
        raise MergeRefusedError(
            f"{run.label}, run {run.id}: {vanished} of {fleet} SIMs are missing from a full list for the second time "
            f"and would be deactivated, more than the allowed share {run.maximum_vanished_share} "
            "(service_provider.maximum_vanished_share); nothing was merged. If the carrier really removed them, "
            "trigger the sync with full_sync and allow_mass_deactivation"
        )
    if missing:
        log.warning(
            "%s, run %s: %s SIMs are missing from a full list for the first time; if the next full list does not "
            "contain them either, they are deactivated",
            run.label,
            run.id,
            missing,
        )
    return vanished, missing


def merge_usage(conninfo: str, run_id: int, *, now: datetime) -> int:
    """Merge the staged usage into the devices' counters and the daily usage, once per run; return how many changed.

    Raises:
        MergeRefusedError: a run that began later has merged already.
        StepMissingError: the devices are not merged: an operator marked their task as success.
    """
    with transaction(conninfo, application_name="amop merge_usage") as connection:
        run = _lock_run(connection, run_id)
        if run.usage_merged_at is not None:
            return run.usage_updated
        require_step(run, "merge_devices", is_done=run.devices_merged_at is not None)
        provider_id = run.service_provider_id
        with _joins_by_hash(connection):
            records.quarantine_unusable_usage(connection, run_id=run_id, service_provider_id=provider_id, now=now)
        updated = merge_staged_usage(connection, run, now=now)
        warn_of_unusual_counters(connection, run)
        unconfirmed = merges.mark_unconfirmed_usage(connection)
        records.supersede_usage(connection, run_id=run_id, service_provider_id=provider_id, now=now)
        merges.record_usage_merge(
            connection, run_id=run_id, usage_updated=updated, usage_unconfirmed=unconfirmed, now=now
        )
    if unconfirmed:
        log.warning(
            "%s, run %s: the usage of %s SIMs could not be confirmed; they keep their counters "
            "(device.usage_is_unconfirmed)", run.label, run.id, unconfirmed,
        )  # fmt: skip
    log.info("%s: usage of %s SIMs updated", run.service_provider_name, updated)
    return updated


def merge_staged_usage(
    connection: WarehouseConnection, run: SyncRun, *, now: datetime, iccids: list[str] | None = None
) -> int:
    """Merge a run's staged usage, or that of some SIMs, into counters and daily usage; return how many SIMs changed.

    Runs in the caller's transaction, which holds the provider's lock. Repeating it changes nothing.
    """
    reads.collect_present_devices(connection, run_id=run.id)
    reads.compare_usage(connection, run_id=run.id)
    merges.collect_usage(connection, run_id=run.id, proof_reads=PROOF_READS, iccids=iccids)
    record_synced_usage(connection, run)
    return merges.merge_usage(connection, billing_period_id=run.billing_period_id, usage_as_of=run.usage_as_of, now=now)
