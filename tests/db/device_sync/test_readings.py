"""Which reading of a SIM's usage counts: bulk or single, confirmed or not, and what a refused read costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from amop.carriers.errors import CarrierRequestError
from amop.device_sync import fetch
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld

PLAN, OTHER = "ATT 25 MB", "ATT 500 MB"
MORNING = datetime(2026, 11, 20, 15, tzinfo=UTC)
"""Within the billing period of 18 November to 18 December."""
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def running() -> Iterator[RawCarrier]:
    with running_raw_carrier() as carrier:
        yield carrier


@pytest.fixture
def carrier(running: RawCarrier) -> RawCarrier:
    running.usage, running.single, running.refusals, running.calls = {}, {}, {}, []
    return running


@pytest.fixture
def world(carrier: RawCarrier, warehouse_dsn: str) -> SyncWorld:
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0, maximum_bad_share = 0.2 RETURNING id")
    return made


def iccid_of(number: int) -> str:
    return f"8901{number:015d}"


def sim(number: int, plan: str | None = PLAN, **values: Any) -> dict[str, Any]:
    return {
        "iccid": iccid_of(number), "status": "ACTIVATED", "ratePlan": plan, "communicationPlan": "Data LTE",
    } | values  # fmt: skip


def bulk(usage: dict[int, int], key: str = "dataUsage") -> list[list[Any]]:
    """Return the only page of /usages: usage by number of the SIM."""
    devices = [{"deviceId": iccid_of(number), "usage": {key: value}} for number, value in usage.items()]
    return [[{"zone": "Domestic", "devices": devices}]] if devices else [[]]


def single(number: int, data: int, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the answer to the single read of a SIM."""
    return {iccid_of(number): {"iccid": iccid_of(number), "ctdDataUsage": data} | more}


def sync(world: SyncWorld, day: int, *, now: datetime | None = None) -> dict[str, Any]:
    """Run the day of the provider on a clock that only sleeps move; return the run's row."""
    clock = SimulatedClock(now or MORNING + day * DAY)
    run_id = world.open(f"day {day} {clock.now()}", now=clock.now())
    fetch.queue_sync(world.dsn, run_id)
    with world.client(clock=clock) as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=clock.now)
        fetch.fetch_usage(world.dsn, run_id, client, clock=clock.now)
    world.merge(run_id, now=clock.now())
    return world.run(run_id)


def counters(world: SyncWorld, *numbers: int, counter: str = "data") -> list[int]:
    devices = world.devices()
    return [devices[iccid_of(number)][f"ctd_{counter}_usage"] for number in numbers]


def unconfirmed(world: SyncWorld) -> list[str]:
    return sorted(iccid for iccid, row in world.devices().items() if row["usage_is_unconfirmed"])


def daily_sum(world: SyncWorld, number: int) -> int:
    (row,) = world.rows(
        "SELECT coalesce(sum(daily.data_usage), 0) AS total FROM amop.device_usage AS daily"
        " JOIN amop.device AS device ON device.id = daily.device_id AND device.billing_period_id ="
        " daily.billing_period_id WHERE device.iccid = %s", iccid_of(number),
    )  # fmt: skip
    return int(row["total"])


@pytest.mark.parametrize(
    ("on_old_plan", "on_new_plan"),
    [(400_000_000, 5_000), (None, 400_005_000), (400_000_000, 400_005_000)],
    ids=["plan at the time of use", "present plan", "part on the old plan and all on the present one"],
)
def test_a_sim_that_changed_its_plan_has_its_whole_usage_whatever_the_bulk_usage_attributes_it_to(
    world: SyncWorld, carrier: RawCarrier, on_old_plan: int | None, on_new_plan: int
) -> None:
    carrier.pages = [[sim(1, OTHER), sim(2)]]
    carrier.usage = {(OTHER, "DATA"): bulk({1: 400_000_000}), (PLAN, "DATA"): bulk({2: 1})}
    sync(world, 0)
    carrier.pages = [[sim(1), sim(2)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: on_new_plan, 2: 1})}
    if on_old_plan is not None:
        carrier.usage[(OTHER, "DATA")] = bulk({1: on_old_plan})
    carrier.single = single(1, 400_005_000)
    for day in (1, 2):
        run = sync(world, day)
        assert (counters(world, 1, 2), run["usage_unconfirmed"]) == ([400_005_000, 1], 0)
        assert daily_sum(world, 1) == 400_005_000


@pytest.mark.parametrize(("on_old_plan", "on_new_plan"), [(400_000_000, 5_000), (None, 400_005_000)])
def test_without_a_call_left_the_plans_of_the_period_add_up_and_the_sim_is_unconfirmed(
    world: SyncWorld, carrier: RawCarrier, on_old_plan: int | None, on_new_plan: int
) -> None:
    world.rows("UPDATE amop.service_provider SET usage_calls_per_run = 0 RETURNING id")
    carrier.pages = [[sim(1, OTHER)]]
    carrier.usage = {(OTHER, "DATA"): bulk({1: 400_000_000})}
    sync(world, 0)
    carrier.pages = [[sim(1)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: on_new_plan})}
    if on_old_plan is not None:
        carrier.usage[(OTHER, "DATA")] = bulk({1: on_old_plan})
    assert sync(world, 1)["usage_unconfirmed"] == 1
    assert (counters(world, 1), unconfirmed(world)) == ([400_005_000], [iccid_of(1)])


FLEET = range(1, 41)


def test_usage_that_vanishes_for_a_day_lowers_no_counter(world: SyncWorld, carrier: RawCarrier) -> None:
    # Below the provider's limits: above them nothing would be merged.
    world.rows(
        "UPDATE amop.service_provider SET usage_calls_per_run = 15, maximum_usage_loss_share = 1,"
        " maximum_usage_factor = 1000000 RETURNING id"
    )
    carrier.pages = [[sim(number) for number in FLEET]]
    carrier.usage = {(PLAN, "DATA"): bulk({number: 1000 * number for number in FLEET})}
    sync(world, 0)
    carrier.usage, carrier.calls = {}, []
    for number in FLEET:
        carrier.single |= single(number, 1000 * number + 1)
    run = sync(world, 1)
    read = [call for call in carrier.calls if isinstance(call, str)]
    assert len(read) == 15
    assert set(map(iccid_of, range(31, 41))) <= set(read), "the largest falls are read"
    assert run["usage_unconfirmed"] == len(FLEET) - 15
    expected = [1000 * number + (iccid_of(number) in read) for number in FLEET]
    assert counters(world, *FLEET) == expected
    summary = world.run(run["id"])["summary"]
    assert (summary["usage_unconfirmed_count"], summary["single_usage_reads"]) == (25, 15)
    carrier.usage = {(PLAN, "DATA"): bulk({number: 2000 * number for number in FLEET})}
    assert sync(world, 2)["usage_unconfirmed"] == 0
    assert (counters(world, *FLEET), unconfirmed(world)) == ([2000 * number for number in FLEET], [])


def test_a_fall_that_the_single_reads_prove_is_believed_for_the_whole_plan(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.service_provider SET usage_calls_per_run = 15 RETURNING id")
    carrier.pages = [[sim(number) for number in FLEET]]
    carrier.usage = {(PLAN, "DATA"): bulk({number: 1000 * number for number in FLEET})}
    sync(world, 0)
    carrier.usage = {(PLAN, "DATA"): bulk({number: 990 * number for number in FLEET})}
    for number in FLEET:
        carrier.single |= single(number, 990 * number)
    run = sync(world, 1)
    assert (counters(world, *FLEET), run["usage_unconfirmed"]) == ([990 * number for number in FLEET], 0)
    assert [daily_sum(world, number) for number in FLEET] == [990 * number for number in FLEET]


def test_a_counter_that_the_carrier_resets_late_is_believed_without_a_call(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 5_000_000_000})}
    sync(world, 0, now=datetime(2026, 11, 18, 6, tzinfo=UTC))
    sync(world, 0, now=datetime(2026, 11, 19, 1, tzinfo=UTC))
    carrier.usage, carrier.calls = {(PLAN, "DATA"): bulk({1: 10_000_000})}, []
    sync(world, 0)
    assert iccid_of(1) not in carrier.calls
    assert (counters(world, 1), daily_sum(world, 1)) == ([10_000_000], 10_000_000)


@pytest.mark.parametrize("plan", ["New Shared 10 GB", "ATT 500 MB"], ids=["not in the reference file", "in it"])
def test_a_plan_that_the_carrier_refuses_in_bulk_is_read_sim_by_sim_and_remembered(
    world: SyncWorld, carrier: RawCarrier, plan: str, caplog: pytest.LogCaptureFixture
) -> None:
    carrier.pages = [[sim(1), sim(2, plan), sim(3, plan)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 7})}
    carrier.refusals = {(plan, "DATA", 1): (400, "Shared rate plans are not supported")}
    carrier.single = single(2, 20) | single(3, 30)
    run = sync(world, 0)
    assert (counters(world, 1, 2, 3), run["usage_unconfirmed"]) == ([7, 20, 30], 0)
    assert "400: Shared rate plans are not supported" in caplog.text
    assert "its 2 SIMs cost one call each in every sync" in caplog.text
    assert run["summary"]["rate_plans_without_bulk_usage"] == [plan]
    shared = world.rows("SELECT is_shared FROM amop.carrier_rate_plan WHERE rate_plan_code = %s", plan)
    assert all(row["is_shared"] for row in shared)
    carrier.calls, carrier.single = [], single(2, 21) | single(3, 31)
    sync(world, 1)
    assert not [call for call in carrier.calls if call[0] == plan], "an incremental run does not try it again"
    assert counters(world, 1, 2, 3) == [7, 21, 31]


def test_the_budget_holds_for_a_refused_plan_and_the_largest_sims_are_read(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.service_provider SET usage_calls_per_run = 2 RETURNING id")
    carrier.pages = [[sim(9, OTHER), *(sim(number) for number in range(1, 6))]]
    carrier.usage = {(PLAN, "DATA"): bulk({number: 10 * number for number in range(1, 6)}), (OTHER, "DATA"): bulk({})}
    sync(world, 0)
    carrier.refusals = {(PLAN, "DATA", 1): (404, "No such rate plan")}
    for number in range(1, 6):
        carrier.single |= single(number, 100 * number)
    run = sync(world, 1)
    assert (counters(world, *range(1, 6)), run["usage_unconfirmed"]) == ([10, 20, 30, 400, 500], 3)


def test_a_refused_usage_type_is_not_read_and_does_not_make_the_plan_shared(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.carrier_rate_plan SET sms_rate = 0.1 WHERE rate_plan_code = %s RETURNING id", PLAN)
    world.rows("UPDATE amop.service_provider SET usage_calls_per_run = 1 RETURNING id")
    carrier.pages = [[sim(1), sim(2)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 7, 2: 9})}
    carrier.refusals = {(PLAN, "SMS", 1): (400, "SMS usage is not available")}
    carrier.single = single(2, 9, ctdSMSUsage=3)
    run = sync(world, 0)
    devices = world.devices()
    assert (counters(world, 1, 2), run["usage_unconfirmed"]) == ([7, 9], 0)
    assert [devices[iccid_of(number)]["sms_is_read"] for number in (1, 2)] == [False, True]
    assert counters(world, 1, 2, counter="sms") == [0, 3]
    assert world.count("bulk_usage_refusal") == 0


def test_403_for_every_usage_read_stays_final_and_one_for_a_single_plan_does_not(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1), sim(2, OTHER)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 7})}
    carrier.single = single(2, 20)
    forbidden = {(plan, kind, 1): (403, "Not allowed") for plan in (PLAN, OTHER) for kind in ("DATA", "SMS")}
    carrier.refusals = dict(forbidden)
    with pytest.raises(CarrierRequestError, match="403: Not allowed"):
        sync(world, 0)
    assert iccid_of(2) not in carrier.calls
    world.rows("UPDATE amop.device_sync_run SET status = 'failed', ended_at = now() RETURNING id")
    carrier.refusals = {read: refusal for read, refusal in forbidden.items() if read[0] == OTHER}
    sync(world, 1)
    assert counters(world, 1, 2) == [7, 20]


def test_a_sim_for_which_the_carrier_always_fails_is_quarantined_with_its_words_and_blocks_no_other(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1, None), sim(2, None), *(sim(number) for number in range(3, 9))]]
    carrier.usage = {(PLAN, "DATA"): bulk({3: 30})}
    carrier.single = single(2, 20)
    carrier.refusals = {iccid_of(1): (500, "Internal error")}
    sync(world, 0)
    assert counters(world, 1, 2, 3) == [0, 20, 30]
    (row,) = world.rows("SELECT kind, iccid, source, reason FROM amop.device_quarantine")
    assert (row["kind"], row["iccid"], row["source"]) == ("usage", iccid_of(1), "refusal")
    assert row["reason"].startswith("the carrier returned 500: Internal error in 3 attempts")


@pytest.mark.parametrize("written", [f"{iccid_of(1)}F", int(iccid_of(1)), f" {iccid_of(1)} ", f"{iccid_of(1)}7"])
def test_an_answer_that_writes_the_iccid_in_another_way_is_understood(
    world: SyncWorld, carrier: RawCarrier, written: Any
) -> None:
    carrier.pages = [[sim(1, None)]]
    carrier.single = {iccid_of(1): {"iccid": written, "ctdDataUsage": 5}}
    sync(world, 0)
    assert (counters(world, 1), world.count("device_quarantine")) == ([5], 0)


def test_an_answer_about_another_sim_is_quarantined_and_does_not_end_the_run(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1, None), *(sim(number) for number in range(2, 9))]]
    carrier.single = {iccid_of(1): {"iccid": "8.9014E+18", "ctdDataUsage": 5}}
    sync(world, 0)
    (row,) = world.rows("SELECT iccid, reason FROM amop.device_quarantine")
    assert row["iccid"] == iccid_of(1)
    assert "the response is for another SIM, '8.9014E+18'" in row["reason"]


def test_sms_is_read_where_a_plan_that_the_sim_may_be_put_on_has_a_price_for_it(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.carrier_rate_plan SET sms_rate = 0 WHERE service_provider_id = 1 RETURNING id")
    carrier.pages = [[sim(1, communicationPlan="Mixed M2M")]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 7}), (PLAN, "SMS"): bulk({1: 4}, "smsUsage")}
    sync(world, 0)
    assert (counters(world, 1, counter="sms"), world.devices()[iccid_of(1)]["sms_is_read"]) == ([0], False)
    world.rows(
        "UPDATE amop.carrier_rate_plan SET sms_rate = 0.1 WHERE id = (SELECT max(mapping.carrier_rate_plan_id)"
        " FROM amop.communication_plan_rate_plan AS mapping JOIN amop.communication_plan AS plan"
        " ON plan.id = mapping.communication_plan_id JOIN amop.carrier_rate_plan AS target"
        " ON target.id = mapping.carrier_rate_plan_id WHERE plan.name = 'Mixed M2M'"
        " AND plan.service_provider_id = 1 AND target.rate_plan_code <> %s) RETURNING id", PLAN,
    )  # fmt: skip
    sync(world, 1)
    assert (counters(world, 1, counter="sms"), world.devices()[iccid_of(1)]["sms_is_read"]) == ([4], True)


def test_a_sim_that_retires_within_the_cycle_or_is_first_seen_retired_is_counted_to_its_end_and_then_not_read(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    new_retired = [sim(3, OTHER, status="RETIRED"), sim(5, None, status="RETIRED"), sim(6, None, status="RETIRED")]
    carrier.pages = [[sim(1), sim(2, None), *new_retired, sim(4)]]
    world.rows("UPDATE amop.service_provider SET usage_calls_per_run = 1 RETURNING id")
    carrier.usage = {(PLAN, "DATA"): bulk({1: 100, 4: 1}), (OTHER, "DATA"): bulk({3: 7})}
    carrier.single = single(2, 50) | single(5, 5) | single(6, 6)
    sync(world, 0)
    assert sorted(counters(world, 5, 6)) in ([0, 5], [0, 6]), "within the budget of single reads"
    carrier.pages = [[sim(1, status="RETIRED"), sim(2, None, status="Retired"), *new_retired, sim(4)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 190_000_000, 4: 1}), (OTHER, "DATA"): bulk({3: 7})}
    carrier.single |= single(2, 60)
    for day in (1, 2):
        sync(world, day)
        assert counters(world, 1, 2, 3, 5, 6) == [190_000_000, 60, 7, 5, 6]
    assert (daily_sum(world, 1), daily_sum(world, 3)) == (190_000_000, 7)
    carrier.usage, carrier.calls = {(PLAN, "DATA"): bulk({4: 1})}, []
    sync(world, 31)
    assert not [call for call in carrier.calls if call[0] == OTHER or call in map(iccid_of, (2, 3, 5, 6))]


def test_a_sim_missing_from_one_full_list_still_gets_its_usage(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[sim(number) for number in range(1, 31)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 10, 2: 20})}
    sync(world, 0)
    carrier.pages = [[sim(number) for number in range(2, 31)]]
    carrier.usage = {(PLAN, "DATA"): bulk({1: 15, 2: 25})}
    run_id = world.open("full", now=MORNING + DAY, full_sync=True)
    clock = SimulatedClock(MORNING + DAY)
    fetch.queue_sync(world.dsn, run_id)
    with world.client(clock=clock) as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=clock.now)
        fetch.fetch_usage(world.dsn, run_id, client, clock=clock.now)
    world.merge(run_id, now=clock.now())
    assert (world.count("device_missing"), counters(world, 1, 2)) == (1, [15, 25])


def test_in_a_new_cycle_an_unread_counter_begins_at_0_and_an_unread_sim_stays_in_the_old_cycle(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.carrier_rate_plan SET sms_rate = 0.1 WHERE rate_plan_code = %s RETURNING id", PLAN)
    carrier.pages = [[sim(1), sim(2, OTHER)]]
    carrier.usage = {
        (PLAN, "DATA"): bulk({1: 700}), (PLAN, "SMS"): bulk({1: 9}, "smsUsage"), (OTHER, "DATA"): bulk({2: 800}),
    }  # fmt: skip
    before = sync(world, 0)
    assert (counters(world, 1, 2), counters(world, 1, counter="sms")) == ([700, 800], [9])
    # The next cycle: neither the messages of the first SIM nor anything of the second one can be read.
    world.rows("UPDATE amop.service_provider SET usage_calls_per_run = 0 RETURNING id")
    carrier.usage = {(PLAN, "DATA"): bulk({1: 30})}
    carrier.refusals = {(PLAN, "SMS", 1): (400, "Not now"), (OTHER, "DATA", 1): (400, "Not now")}
    after = sync(world, 30)
    assert (counters(world, 1, 2), counters(world, 1, counter="sms")) == ([30, 800], [0])
    periods = {iccid: row["billing_period_id"] for iccid, row in world.devices().items()}
    assert periods == {iccid_of(1): after["billing_period_id"], iccid_of(2): before["billing_period_id"]}
