"""SIMs that are missing from a full list, by carrier API: those that exist are found, those that are gone are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from amop.device_sync import fetch
from sandbox.carrier.running import FAMILY_SERVERS
from tests.worlds.family_world import FamilyWorld
from tests.worlds.moments import present

SIMS = 60
INTEGRATIONS = {"control_center": "jasper", "thingspace": "thingspace", "teal": "teal"}


@pytest.fixture(params=INTEGRATIONS)
def world(request: pytest.FixtureRequest, warehouse_dsn: str) -> Iterator[FamilyWorld]:
    accounts = {"accounts": ("jasper",)} if request.param == "control_center" else {}
    with FAMILY_SERVERS[request.param](devices_per_account=SIMS, limits_are_enforced=False, **accounts) as carrier:
        made = FamilyWorld(warehouse_dsn, carrier, INTEGRATIONS[request.param])
        made.sync("first")
        made.rows("UPDATE amop.device SET details_read_at = now() RETURNING id")
        made.rows(
            "UPDATE amop.service_provider SET detail_calls_per_run = 500, maximum_bad_share = 1 WHERE name = %s"
            " RETURNING id",
            made.rows("SELECT min(name) AS name FROM amop.service_provider AS provider JOIN amop.device AS device"
                      " ON device.service_provider_id = provider.id")[0]["name"],
        )  # fmt: skip
        yield made


class Hiding:
    """The real client with a device list that misses SIMs."""

    def __init__(self, client: Any, hidden: Iterable[str]) -> None:
        self._client, self._hidden = client, set(hidden)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list_devices_page(self, **named: Any) -> Any:
        """Return the page without those SIMs."""
        page = self._client.list_devices_page(**named)
        page.devices[:] = [device for device in page.devices if device["iccid"] not in self._hidden]
        return page


def sync(world: FamilyWorld, night: int, hidden: Iterable[str] = ()) -> dict[str, Any]:
    """Read and merge a full list that misses SIMs; return the run."""
    now = present() + timedelta(hours=night)
    run_id = world.open(f"night {night}", full_sync=True, now=now)
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        hiding: Any = Hiding(client, hidden)
        fetch.fetch_devices(world.dsn, run_id, hiding)
        fetch.fetch_usage(world.dsn, run_id, client)
    world.merge(run_id, now=now)
    return world.run(run_id)


def test_sims_that_are_gone_do_not_end_the_reads_of_those_that_exist(world: FamilyWorld) -> None:
    known = [iccid for iccid, sim in sorted(world.truth().items()) if sim["status"] == "ACTIVATED"]
    gone, hidden = known[:5], known[5:9]
    world.carrier.remove_devices(gone)
    for night, vanished in ((1, 0), (2, 5)):
        run = sync(world, night, hidden)
        assert (run["devices_seen"], run["devices_vanished"]) == (SIMS - 5, vanished)
    devices = world.devices()
    assert [devices[iccid]["is_active"] for iccid in gone + hidden] == [False] * 5 + [True] * 4


def test_a_sim_that_is_gone_keeps_its_last_counters(world: FamilyWorld) -> None:
    used = [
        row["iccid"]
        for row in world.rows(
            "SELECT iccid FROM amop.device WHERE ctd_data_usage > 0 AND status = 'ACTIVATED' ORDER BY iccid LIMIT 2"
        )
    ]
    before = [world.devices()[iccid]["ctd_data_usage"] for iccid in used]
    history = "SELECT iccid, usage_date, day.data_usage FROM amop.device_usage AS day JOIN amop.device AS device" \
        " ON device.id = device_id WHERE iccid = any(%s) ORDER BY 1, 2"  # fmt: skip
    days = world.rows(history, used)
    world.carrier.remove_devices(used)
    for night in (1, 2):
        sync(world, night)
        assert [world.devices()[iccid]["ctd_data_usage"] for iccid in used] == before
    assert not any(world.devices()[iccid]["is_active"] for iccid in used)
    assert world.rows(history, used) == days
