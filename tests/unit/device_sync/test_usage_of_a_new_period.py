"""The first usage of a billing period: little of it is plausible as long as little is to be expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from amop.device_sync.plausibility import judge_total_usage
from amop.device_sync.store.plausibility import PlausibilityLimits, UsageLoss
from sandbox.carrier.catalogue import ServiceProvider
from sandbox.carrier.fleet import Fleet, billing_cycle, generate_fleet
from sandbox.demo.billing_cycle import CLOSED

LIMITS = PlausibilityLimits(
    maximum_unlisted_share=Decimal("0.05"),
    warning_unlisted_share=Decimal("0.01"),
    maximum_usage_loss_share=Decimal("0.2"),
    warning_usage_loss_share=Decimal("0.05"),
    maximum_value_loss_share=Decimal("0.05"),
    warning_value_loss_share=Decimal("0.01"),
    maximum_usage_factor=Decimal(4),
    warning_usage_factor=Decimal(2),
)
NOON = datetime(2026, 11, 15, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


def fleet_at(provider: ServiceProvider, moment: datetime) -> Fleet:
    return generate_fleet(integration=provider.integration, device_count=2000, seed=7, as_of=moment)


def refusals(loss: UsageLoss, elapsed: timedelta) -> list[str]:
    found = judge_total_usage(loss, LIMITS, elapsed=elapsed, known_elapsed=MONTH, is_same_cycle=False)
    return [finding.text for finding in found if finding.is_refused]


@pytest.mark.parametrize("provider", CLOSED, ids=lambda provider: provider.integration)
def test_at_every_hour_of_a_period_the_first_sync_of_the_demos_fleets_is_plausible(provider: ServiceProvider) -> None:
    start, end = billing_cycle(NOON, provider)
    before = fleet_at(provider, end - timedelta(minutes=1))
    hours = [*range(1, 72), *range(72, 27 * 24, 24)]
    for kind, counter in (("DATA", "data_usage"), ("SMS", "sms_usage"), ("VOICE", "voice_usage")):
        used = [getattr(sim, counter) for sim in before.sims]
        for hour in hours:
            now = fleet_at(provider, start + timedelta(hours=hour))
            total = sum(getattr(sim, counter) for sim in now.sims)
            loss = UsageLoss(kind, sum(map(bool, used)), 0, Decimal(sum(used)), Decimal(total), [])
            assert refusals(loss, timedelta(hours=hour)) == [], (kind, hour)


@pytest.mark.parametrize(
    ("hours", "messages", "is_refused"),
    [(5, 0, False), (7, 0, False), (37, 0, False), (40, 0, True), (40, 28, False), (49, 0, True), (49, 300, False)],
)
def test_no_messages_at_all_are_refused_once_enough_are_to_be_expected(
    hours: int, messages: int, is_refused: bool
) -> None:
    loss = UsageLoss("SMS", 529, 0, Decimal(15_524), Decimal(messages), [])
    assert bool(refusals(loss, timedelta(hours=hours))) is is_refused
