"""Read applied plan changes back from the carrier: all of them by its list of modified SIMs, or a sample one by one."""

from __future__ import annotations

import logging

from amop.carriers.errors import CarrierFormatError, CarrierRequestError, CarrierUnavailableError
from amop.carriers.protocol import CarrierClient
from amop.clock import Clock, utc_now
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection, connect
from amop.plan_changes import store
from amop.plan_changes.counted_reads import CountedReads
from amop.plan_changes.list_check import (
    FEWEST_CHANGES,
    ListNotUsableError,
    SimsMovedError,
    page_size_of_list,
    read_modified,
)
from amop.plan_changes.list_rules import MARGINS
from amop.plan_changes.rules import VERIFICATION_SAMPLE, present_plan
from amop.plan_changes.store.decisions import InstanceChanges, load_instance_changes
from amop.plan_changes.store.sending import AppliedChange

log = logging.getLogger(__name__)


def verify_changes(conninfo: str, instance_id: int, client: CarrierClient, *, clock: Clock = utc_now) -> dict[str, int]:
    """Read applied changes back; a SIM on another plan than the target becomes a conflict.

    Where lists of modified SIMs checked the changes, a last one reads back all of them, and what it does not show on
    the target plan is read one by one. Otherwise, or if the carrier refuses the list, a sample is read.

    Returns:
        ``verified``, the number of SIMs read back now, and ``different``, the number of SIMs on another plan.
    """
    with connect(conninfo, application_name="amop verify_changes", autocommit=True) as connection:
        changes = load_instance_changes(connection, instance_id)
        if changes.newer_instance_id is not None:
            log.info("Instance %s may have changed these SIMs again: nothing to verify", changes.newer_instance_id)
            return {"verified": 0, "different": 0}
        reads = CountedReads(client)
        listed, single = _read_list(connection, changes, reads, clock)
        verified = different = 0
        for change in single:
            try:
                shown = present_plan(reads.device_details(change.iccid))
            except CarrierRequestError as error:
                log.warning("SIM %s could not be read back: %s", change.iccid, error)
                continue
            verified += 1
            is_kept = shown == change.to_rate_plan
            problem = None if is_kept else f"was applied, but the carrier shows rate plan {shown!r} afterwards"
            store.sending.set_verified(connection, change_id=change.id, rate_plan=shown, error=problem, now=clock())
            if problem is not None:
                different += 1
                log.error("%s: SIM %s %s", changes.service_provider_name, change.iccid, problem)
        reads.record(connection, instance_id)
    log.info(
        "%s: %s SIMs read back, of which %s by the list of modified SIMs; %s differ",
        changes.service_provider_name,
        listed + verified,
        listed,
        different,
    )
    return {"verified": listed + verified, "different": different}


def _read_list(
    connection: WarehouseConnection, changes: InstanceChanges, client: CountedReads, clock: Clock
) -> tuple[int, list[AppliedChange]]:
    """Read back by a list if lists checked the changes; return how many it verified, and the changes left to read."""
    instance_id = changes.instance_id
    device_list = store.sending.device_list(connection, instance_id=instance_id)
    sample = store.sending.sample(connection, instance_id=instance_id, sample_size=VERIFICATION_SAMPLE)
    family = KNOWN_INTEGRATIONS[changes.integration].api
    page_size = page_size_of_list(family)
    if device_list.listed_at is None or device_list.refusal is not None or page_size is None:
        return 0, sample
    unverified = store.sending.unverified(connection, instance_id=instance_id)
    since = device_list.listed_at
    if sum(change.sent_at is not None and change.sent_at >= since for change in unverified) < FEWEST_CHANGES:
        return 0, unverified
    try:
        listed = read_modified(
            client,
            since=since - MARGINS[0],
            most_pages=len(unverified),
            page_size=page_size,
            identifier=family.identifier,
            clock=clock,
        )
    except SimsMovedError:
        return 0, unverified
    except (CarrierRequestError, CarrierUnavailableError, CarrierFormatError, ListNotUsableError) as error:
        log.warning("%s: %s; a sample of the changes is read back instead of all", changes.service_provider_name, error)
        return 0, sample
    store.sending.record_modified(
        connection,
        instance_id=instance_id,
        iccids=list(listed.rate_plans),
        rate_plans=list(listed.rate_plans.values()),
        now=listed.read_at,
    )
    left = store.sending.unverified(connection, instance_id=instance_id)
    return len({change.id for change in unverified} - {change.id for change in left}), left
