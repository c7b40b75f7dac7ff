"""Single SIMs of every carrier API whose counters cannot be right, and fields that an API does not have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from amop.device_sync.unusual_counters import most_bytes
from amop.families import FAMILIES
from sandbox.carrier.running import FAMILY_SERVERS, RunningCarrier
from tests.worlds.family_world import FamilyWorld
from tests.worlds.moments import present

SIMS = 40
CLIENTS = {"control_center": "jasper", "thingspace": "thingspace", "teal": "teal"}
"""Family with a client and an integration of it."""
OTHERS = ["thingspace", "teal"]


@pytest.fixture(params=CLIENTS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def carrier(family: str) -> Iterator[RunningCarrier]:
    accounts: dict[str, Any] = {"accounts": ("jasper",)} if family == "control_center" else {}
    with FAMILY_SERVERS[family](devices_per_account=SIMS, limits_are_enforced=False, **accounts) as running:
        yield running


@pytest.fixture
def world(family: str, carrier: RunningCarrier, warehouse_dsn: str) -> FamilyWorld:
    made = FamilyWorld(warehouse_dsn, carrier, CLIENTS[family])
    made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    return made


def test_every_family_with_a_client_is_tested() -> None:
    assert set(CLIENTS) == {name for name, family in FAMILIES.items() if family.has_client}


@pytest.mark.parametrize("family", OTHERS, indirect=True)
def test_a_field_that_the_family_does_not_have_is_never_missed(world: FamilyWorld) -> None:
    assert world.sync("first")["warnings"] == []
    world.rows("UPDATE amop.device SET is_active = false WHERE id % 2 = 0 RETURNING id")
    assert world.sync("half of them new", now=present() + timedelta(hours=1))["warnings"] == []


def test_a_radio_carries_at_most_3_gbit_a_second_since_the_cycle_began_or_the_day_before() -> None:
    assert most_bytes(timedelta(days=1)) == 2 * 86_400 * 375_000_000
    assert most_bytes(timedelta(days=-1)) == 86_400 * 375_000_000


def test_one_sim_with_more_usage_than_a_radio_can_carry_is_named_in_a_warning(
    world: FamilyWorld, carrier: RunningCarrier
) -> None:
    iccid = sorted(world.truth())[3]
    carrier.change_devices([iccid], data_usage=10**18)
    run = world.sync("first")
    (warning,) = [text for text in run["warnings"] if "no radio could carry" in text]
    assert warning.startswith("the data usage of 1 SIM is above ")
    assert f"{iccid} with 1000000000000000000 bytes. Check it at the carrier" in warning
    assert run["status"] == "complete"
    assert world.devices()[iccid]["ctd_data_usage"] == 10**18


def test_a_counter_that_fell_within_the_cycle_is_named_where_it_is_taken(
    world: FamilyWorld, carrier: RunningCarrier
) -> None:
    first, second = sorted(world.truth())[3:5]
    carrier.change_devices([first], data_usage=159_505_842)
    carrier.change_devices([second], data_usage=20_000_000)
    world.sync("first")
    carrier.change_devices([first], data_usage=5)
    carrier.change_devices([second], data_usage=19_000_000)  # a correction of the carrier's
    run = world.sync("second", now=present() + timedelta(hours=1))
    fell = f"the DATA counter of 1 SIM fell within the billing period: {first} from 159505842 to 5 bytes."
    assert world.devices()[first]["ctd_data_usage"] == 5
    assert [text.startswith(fell) for text in run["warnings"] if "counter of" in text] == [True]
