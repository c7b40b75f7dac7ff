"""The usage of a billing period against earlier ones: what is refused, what is warned of, and what says nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from amop.device_sync.store.plausibility import FleetUsage, PlausibilityLimits, UsageLoss
from amop.device_sync.total_usage import judge_totals
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
DAY = timedelta(days=1)
SIMS = 1_000
GB = 10**9

Curve = Callable[[float], float]
"""Usage of a fleet since its billing period began, by the days since then."""


def fleet_at(provider: ServiceProvider, moment: datetime) -> Fleet:
    return generate_fleet(integration=provider.integration, device_count=2000, seed=7, as_of=moment)


def usage_loss(
    kind: str, before: float, now: float, *, sims: int = SIMS, used: int | None = None, used_before: int | None = None
) -> UsageLoss:
    return UsageLoss(
        usage_type=kind,
        used_before=sims if used_before is None else used_before,
        vanished=0,
        total_before=Decimal(int(before)),
        total=Decimal(int(now)),
        samples=[],
        sims=sims,
        used=(sims if now else 0) if used is None else used,
        typical_total=Decimal(int(now)),
    )


def first_refusals(loss: UsageLoss, elapsed: timedelta) -> list[str]:
    found = judge_totals(
        [loss], LIMITS, elapsed=elapsed, known_elapsed=MONTH, is_same_period=False, earlier=[], is_allowed=False
    )
    return [finding.text for finding in found if finding.is_refused]


@pytest.mark.parametrize("provider", CLOSED, ids=lambda provider: provider.integration)
def test_at_every_hour_of_a_period_the_first_sync_of_the_demos_fleets_is_plausible(provider: ServiceProvider) -> None:
    start, end = billing_cycle(NOON, provider)
    before = fleet_at(provider, end - timedelta(minutes=1))
    hours = [*range(1, 72), *range(72, 27 * 24, 24)]
    for kind, counter in (("DATA", "data_usage"), ("SMS", "sms_usage"), ("VOICE", "voice_usage")):
        used = [getattr(sim, counter) for sim in before.sims]
        for hour in hours:
            now = [getattr(sim, counter) for sim in fleet_at(provider, start + timedelta(hours=hour)).sims]
            loss = usage_loss(
                kind, sum(used), sum(now), sims=len(now), used=sum(map(bool, now)), used_before=sum(map(bool, used))
            )
            assert first_refusals(loss, timedelta(hours=hour)) == [], (kind, hour)


class Nights:
    """Nightly syncs of a fleet, each judged, merged unless it is refused, and remembered for the later periods."""

    def __init__(self, *, hour: float = 5) -> None:
        """Begin without a history. ``hour``: of the syncs, after the end of a billing period."""
        self.hour = hour
        self.earlier: list[FleetUsage] = []
        self.known: dict[str, float] = {}
        self.known_elapsed = timedelta(0)
        self.allows = False

    def period(self, *, nights: int = 30, used: int | None = None, **curves: Curve) -> str:
        """Play a billing period; return a letter a night: ``.`` plausible, ``w`` warning, ``R`` refused."""
        letters, read, is_same_period, is_allowed = "", [], False, False
        number = len({reading.billing_period_id for reading in self.earlier}) + 1
        for night in range(nights):
            elapsed = timedelta(hours=self.hour) + night * DAY
            now = {kind: curve(elapsed / DAY) for kind, curve in curves.items()}
            losses = [usage_loss(kind, self.known.get(kind, 0), total, used=used) for kind, total in now.items()]
            found = [] if not self.known else list(
                judge_totals(
                    losses, LIMITS, elapsed=elapsed, known_elapsed=self.known_elapsed, is_same_period=is_same_period,
                    earlier=self.earlier, is_allowed=is_allowed,
                )
            )  # fmt: skip
            is_refused = any(finding.is_refused for finding in found)
            letters += "R" if is_refused else "w" if found else "."
            if is_refused and not self.allows:
                continue
            is_allowed = is_allowed or (is_refused and self.allows)
            self.known, self.known_elapsed, is_same_period = now, elapsed, True
            read += [
                FleetUsage(kind, number, elapsed, SIMS, SIMS if total else 0, Decimal(int(total)))
                for kind, total in now.items()
            ]
        self.earlier += read
        return letters


def steady(share: float = 1) -> Curve:
    return lambda days: days * GB * share


def step(day: float, amount: float) -> Curve:
    return lambda days: amount if days >= day else 0


@pytest.mark.parametrize(
    ("share", "first_period", "third_period"),
    [
        (0, "." + "w" * 29, "." + "ww" + "R" * 27),
        (0.001, "." + "R" * 29, "." + "R" * 29),
        (0.01, "." + "w" * 29, "." + "w" * 29),
        (0.1, ".." + "w" * 28, ".." + "w" * 28),
        (1, "." * 30, "." * 30),
        (30, "w" * 30, "w" * 30),
        (1024, "R" * 30, "R" * 30),
    ],
)
def test_a_period_that_begins_wrong_is_warned_of_or_refused_every_night(
    share: float, first_period: str, third_period: str
) -> None:
    """The default schedule: the first sync is 5 hours after the period's end, when nothing is known to be low yet."""
    short, long = Nights(), Nights()
    assert short.period(DATA=steady()) == "." * 30
    assert short.period(DATA=steady(share)) == first_period
    for _ in range(3):
        assert long.period(DATA=steady()) == "." * 30
    assert long.period(DATA=steady(share)) == third_period


def uploads(first: float, every: float) -> Curve:
    return lambda days: 0 if days < first else ((days - first) // every + 1) * 7 * GB


@pytest.mark.parametrize(
    ("curve", "first_nights"),
    [
        (uploads(5, 7), "w" * 5 + "." * 25),
        (uploads(5, 5), "w" * 5 + "." * 25),
        (step(12.5, 30 * GB), "w" * 13 + "." * 17),
    ],
    ids=["weekly", "every five days", "once a month"],
)
def test_a_fleet_that_uploads_rarely_is_never_refused_and_a_period_later_not_warned_of(
    curve: Curve, first_nights: str
) -> None:
    fleet = Nights(hour=8)
    fleet.period(DATA=curve)
    # The provider is read for ten days when its first whole period begins.
    fleet.earlier = [reading for reading in fleet.earlier if reading.elapsed > 20 * DAY]
    assert fleet.period(DATA=curve) == first_nights
    assert fleet.period(DATA=curve) == "." * 30


def test_a_weekly_upload_whose_day_moves_between_periods_is_never_refused() -> None:
    fleet = Nights()
    letters = [fleet.period(DATA=uploads(first, 7)) for first in (5, 3, 1, 6, 4, 2, 0, 5)]
    assert not [period for period in letters if "R" in period]


def test_ten_days_of_holidays_with_a_hundredth_of_the_usage_are_warned_of_and_their_end_is_merged() -> None:
    school = Nights()
    for _ in range(3):
        school.period(DATA=steady())
    rests: Curve = lambda days: days * 0.01 * GB + max(0.0, days - 10) * GB  # noqa: E731
    letters = school.period(DATA=rests)
    assert letters == "." + "w" * 12 + "." * 17
    # The same holidays a period later: only the jump at their end.
    assert school.period(DATA=rests) == "." * 10 + "ww" + "." * 18


def test_messages_of_a_month_on_the_first_day_are_warned_of_once_and_then_known() -> None:
    fleet = Nights(hour=8)
    fleet.known, fleet.known_elapsed = {"SMS": 5_000}, timedelta(days=29, hours=20)
    assert fleet.period(SMS=step(0.1, 5_000)) == "w" + "." * 29
    assert fleet.period(SMS=step(0.1, 5_000)) == "." * 30
    # Counters that were not reset go on rising: they are never less than all usage of the previous period.
    assert fleet.period(SMS=lambda days: 40_000 + 1_000 * days)[0] == "R"


def test_a_fleet_that_stops_one_type_of_usage_is_warned_of_only() -> None:
    fleet = Nights()
    for _ in range(3):
        fleet.period(DATA=steady(), SMS=lambda days: 500 * days)
    assert fleet.period(DATA=steady(), SMS=step(40, 0)) == ".." + "w" * 28


def test_a_carrier_whose_counters_are_two_days_late_stops_no_night() -> None:
    fleet = Nights()
    for _ in range(3):
        fleet.period(DATA=steady())
    assert fleet.period(DATA=lambda days: max(0.0, days - 2) * GB) == ".www" + "." * 26


def test_after_an_operator_has_let_a_run_pass_the_nights_of_that_period_are_warned_of() -> None:
    fleet = Nights()
    for _ in range(3):
        fleet.period(DATA=steady())
    fleet.allows = True
    assert fleet.period(DATA=step(40, 0)) == ".wwR" + "w" * 26


@pytest.mark.parametrize(
    ("hours", "messages", "found"),
    [(5, 0, ""), (37, 0, ""), (40, 0, "w"), (40, 54, ""), (40, 53, "w"), (49, 0, "w"), (49, 265, ""), (49, 264, "w")],
)
def test_no_messages_at_all_are_warned_of_once_enough_are_to_be_expected(hours: int, messages: int, found: str) -> None:
    loss = usage_loss("SMS", 15_524, messages, sims=529, used=0)
    letters = "".join(
        "R" if finding.is_refused else "w"
        for finding in judge_totals(
            [loss], LIMITS, elapsed=timedelta(hours=hours), known_elapsed=MONTH, is_same_period=False, earlier=[],
            is_allowed=False,
        )
    )  # fmt: skip
    assert letters == found


def test_a_warning_has_the_figures() -> None:
    (finding,) = judge_totals(
        [usage_loss("DATA", 30 * GB, GB / 2)], LIMITS, elapsed=3 * DAY, known_elapsed=MONTH, is_same_period=False,
        earlier=[], is_allowed=False,
    )  # fmt: skip
    assert finding.text == (
        "the DATA usage of 1000 SIMs is 500000000 bytes in total 3.0 days after the billing period began, less than "
        "1/4 of the 3000000000 that the previous billing period suggests"
    )


def test_half_of_the_sims_are_expected_to_use_half() -> None:
    earlier = [FleetUsage("DATA", 1, MONTH, SIMS, SIMS, Decimal(30 * GB))]
    for sims, count in ((SIMS, 1), (SIMS // 4, 0)):
        loss = usage_loss("DATA", GB / 5, GB / 5, sims=sims)
        found = list(
            judge_totals(
                [loss], LIMITS, elapsed=3 * DAY, known_elapsed=3 * DAY, is_same_period=True, earlier=earlier,
                is_allowed=False,
            )
        )  # fmt: skip
        assert len(found) == count
