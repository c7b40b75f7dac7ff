"""Judge whether what a run staged is plausible, before anything of it is merged.

A well-formed answer can be wrong: a list of half the fleet, a list without rate plans, an answer without usage. The
shares and factors of ``service_provider`` limit how much of a fleet may change at once. Above a limit the run is
refused with figures and samples; parameter ``allow_implausible`` lets one run pass. Above a second, lower limit, and
wherever an operator let a run pass, the run is merged with a warning, which is shown to the person who is asked to
approve the plan changes built on it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal

from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection
from amop.device_sync.store import plausibility as store
from amop.device_sync.store.plausibility import ListLoss, MergedUsage, PlausibilityLimits, UsageLoss
from amop.device_sync.total_usage import Finding, judge_totals, samples_text
from amop.device_sync.validation import KNOWN_STATUSES
from amop.runs.errors import MergeRefusedError
from amop.runs.store.sync_runs import SyncRun, add_run_warning

log = logging.getLogger(__name__)

FEWEST_SIMS = 3
"""Fewer SIMs than this never exceed a share: one or two SIMs are a large share of a small fleet."""


def refuse_implausible(connection: WarehouseConnection, run: SyncRun) -> None:
    """Refuse a run whose answers exceed the provider's plausibility limits; store warnings on one that may merge.

    Raises:
        MergeRefusedError: with figures and samples; no operator has allowed it.
    """
    findings = list(find_implausible(connection, run))
    refused = [finding.text for finding in findings if finding.is_refused]
    if refused and not run.allows_implausible:
        raise MergeRefusedError(
            f"{run.label}, run {run.id}: the carrier's answers are implausible, nothing was merged: "
            f"{'; '.join(refused)}. Check this at the carrier. If it is right, trigger the sync with "
            f"{'full_sync and ' if run.is_full else ''}allow_implausible, which lets that one run pass"
        )
    for finding in findings:
        allowed = " (above the limit, allowed by allow_implausible)" if finding.is_refused else ""
        log.warning("%s, run %s: %s%s", run.label, run.id, finding.text, allowed)
        add_run_warning(connection, run_id=run.id, warning=f"{finding.text}{allowed}")


def find_implausible(connection: WarehouseConnection, run: SyncRun) -> Iterator[Finding]:
    """Yield the implausible changes of a staged run."""
    provider_id = run.service_provider_id
    limits = store.plausibility_limits(connection, service_provider_id=provider_id)
    losses = store.list_losses(
        connection, run_id=run.id, service_provider_id=provider_id, known_statuses=sorted(KNOWN_STATUSES)
    )
    given = KNOWN_INTEGRATIONS[run.integration].api.sim_fields
    for loss in losses:
        if loss.kind == "unlisted":
            yield from judge_unlisted(run, loss, limits)
        elif loss.kind in given:
            yield from judge_values(loss, limits)
    known = store.latest_merged_usage(connection, service_provider_id=provider_id, run_id=run.id)
    if known is None or run.usage_as_of is None:
        return
    usage_losses = store.usage_losses(
        connection,
        run_id=run.id,
        service_provider_id=provider_id,
        billing_period_id=run.billing_period_id,
        known_billing_period_id=known.billing_period_id,
        cycle_end=run.cycle_end,
        list_is_full=run.is_full and run.list_is_whole,
    )
    for usage_loss in usage_losses:
        yield from judge_vanished_usage(usage_loss, limits)
        # Read by the next nights and billing periods, once this run is merged.
        store.record_fleet_usage(
            connection,
            run_id=run.id,
            usage_type=usage_loss.usage_type,
            sim_count=usage_loss.sims,
            used_count=usage_loss.used,
            total=usage_loss.typical_total,
        )
    yield from _judge_totals(connection, run, usage_losses, limits, known)


def _judge_totals(
    connection: WarehouseConnection,
    run: SyncRun,
    losses: list[UsageLoss],
    limits: PlausibilityLimits,
    known: MergedUsage,
) -> Iterator[Finding]:
    """Judge the total usage by the known counters and by the earlier billing periods."""
    if run.usage_as_of is None:
        return
    yield from judge_totals(
        losses,
        limits,
        elapsed=run.usage_as_of - run.cycle_start,
        known_elapsed=known.usage_as_of - known.cycle_start,
        is_same_period=known.billing_period_id == run.billing_period_id,
        earlier=store.earlier_fleet_usage(
            connection, service_provider_id=run.service_provider_id, cycle_start=run.cycle_start
        ),
        is_allowed=store.is_allowed_in_period(
            connection,
            service_provider_id=run.service_provider_id,
            billing_period_id=run.billing_period_id,
            run_id=run.id,
        ),
    )


def judge_unlisted(run: SyncRun, loss: ListLoss, limits: PlausibilityLimits) -> Iterator[Finding]:
    """Judge an empty list, and the SIMs that a full list does not contain."""
    if run.devices_seen == 0 and (run.is_full or loss.fleet == 0):
        yield Finding(
            f"the device list is empty although the provider has {loss.fleet} active SIMs"
            if loss.fleet
            else "the device list is empty, and the provider has no SIM yet",
            is_refused=True,
        )
        return
    if run.is_full and run.list_is_whole:
        yield from _judge_share(
            loss.lost,
            loss.fleet,
            f"{loss.lost} of {loss.fleet} active SIMs are missing from the full device list"
            f"{samples_text(loss.samples)}",
            maximum=(limits.maximum_unlisted_share, "maximum_unlisted_share"),
            warning=(limits.warning_unlisted_share, "warning_unlisted_share"),
        )


def judge_values(loss: ListLoss, limits: PlausibilityLimits) -> Iterator[Finding]:
    """Judge the SIMs whose status, rate plan or communication plan turned null or unknown, or that are new without.

    A fleet that is new as a whole has lost nothing: its unknown plans are those that the reference file has yet to get.
    """
    maximum = (limits.maximum_value_loss_share, "maximum_value_loss_share")
    warning = (limits.warning_value_loss_share, "warning_value_loss_share")
    text = f"the {loss.kind} of {loss.lost} of {loss.fleet} SIMs turned null or unknown{samples_text(loss.samples)}"
    found = list(_judge_share(loss.lost, loss.fleet, text, maximum=maximum, warning=warning))
    if not found and loss.new_without and loss.known_before:
        # A new fleet may be on plans that the reference file does not list yet: a warning, never a refusal.
        text = f"{loss.new_without} new SIMs of {loss.fleet} SIMs have no known {loss.kind}{samples_text(loss.samples)}"
        found = list(_judge_share(loss.new_without, loss.fleet, text, maximum=None, warning=warning))
    yield from found


def judge_vanished_usage(loss: UsageLoss, limits: PlausibilityLimits) -> Iterator[Finding]:
    """Judge the SIMs with usage in this cycle that the carrier now gives as unused."""
    yield from _judge_share(
        loss.vanished,
        loss.used_before,
        f"{loss.vanished} of {loss.used_before} SIMs with {loss.usage_type} usage in this billing period have none in "
        f"the carrier's answers{samples_text(loss.samples)}",
        maximum=(limits.maximum_usage_loss_share, "maximum_usage_loss_share"),
        warning=(limits.warning_usage_loss_share, "warning_usage_loss_share"),
    )


def _judge_share(
    count: int,
    whole: int,
    text: str,
    *,
    maximum: tuple[Decimal, str] | None,
    warning: tuple[Decimal, str],
) -> Iterator[Finding]:
    """Yield a finding if the share of SIMs exceeds the maximum, or else the warning."""
    if count < FEWEST_SIMS or whole == 0:
        return
    share = Decimal(count) / whole
    for limit, is_refused in ((maximum, True), (warning, False)):
        if limit is not None and share > limit[0]:
            yield Finding(f"{text}, more than service_provider.{limit[1]} {limit[0]}", is_refused=is_refused)
            return
