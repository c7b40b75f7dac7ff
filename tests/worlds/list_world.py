"""Plan changes that are built on a device list of just now, and clients that send them at the vendor's pace; for tests.

The carrier dates modifications by the simulated clock (`tests.worlds.moments`); so does the world that sends.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from amop.carriers.protocol import DevicePage
from amop.plan_changes.verify import verify_changes
from tests.worlds.changes_world import ChangesWorld
from tests.worlds.moments import SimulatedDatetime, present

LISTED_BEFORE = timedelta(minutes=30)
SECONDS_OF_A_CALL = 0.2
"""Five calls a second."""


class Paced:
    """The real client; each call takes a fifth of a second of the simulated clock."""

    def __init__(self, client: Any, seconds: float = SECONDS_OF_A_CALL) -> None:
        self._client, self._seconds = client, seconds

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def paced(*arguments: Any, **named: Any) -> Any:
            SimulatedDatetime.offset += timedelta(seconds=self._seconds)
            return call(*arguments, **named)

        return paced


class AlteredList:
    """The real client with another device list than the carrier's own.

    Args:
        client: the real one.
        without: ICCIDs that the list does not show.
        behind: how far the carrier's clock is behind: its list begins this much later.
    """

    def __init__(self, client: Any, *, without: set[str] | None = None, behind: timedelta = timedelta(0)) -> None:
        self._client, self.without, self._behind = client, without or set(), behind
        self.late: dict[str, datetime] = {}
        """ICCIDs that the list does not show before a moment."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list_devices_page(self, *, modified_since: datetime, **named: Any) -> DevicePage:
        """Return the page without those SIMs."""
        page: DevicePage = self._client.list_devices_page(modified_since=modified_since + self._behind, **named)
        hidden = self.without | {iccid for iccid, until in self.late.items() if present() < until}
        shown = [device for device in page.devices if device["iccid"] not in hidden]
        return DevicePage(page.page_number, shown, page.is_last_page, page.document)


class ListWorld(ChangesWorld):
    """A provider whose device list was read half an hour ago."""

    def add_device_list(
        self,
        *,
        began: timedelta = LISTED_BEFORE,
        modified_since: datetime | None = None,
        is_exact: bool = True,
        seen: int = 10,
    ) -> datetime:
        """Add a merged device sync that began this long ago, full without ``modified_since``; return its beginning."""
        began_at = present() - began
        self.execute(
            "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, billing_period_id,"
            " is_full, modified_since, started_at, devices_merged_at, usage_merged_at, list_is_complete, list_is_exact,"
            " devices_seen)"
            " VALUES (%s, 'device_sync_jasper', %s, 'complete', %s, %s, %s, %s, %s, %s, true, %s, %s)",
            self.provider.id,
            f"began {began_at}",
            self.billing_period_id,
            modified_since is None,
            modified_since,
            *[began_at] * 3,
            is_exact,
            seen,
        )
        return began_at

    def listed(self, count: int) -> tuple[int, list[dict[str, Any]]]:
        """Return an instance with approved changes whose inputs were read just now, and its SIMs as they are sent."""
        sims = self.sims(count)
        instance_id = self.instance(sims)
        self.execute("UPDATE amop.optimization_instance SET inputs_read_at = %s WHERE id = %s", present(), instance_id)
        assert self.plan(instance_id, now=present()) == "approved"
        self.carrier.reset_stats()
        return instance_id, sims[::-1]

    def send(self, instance_id: int, around: Any = None) -> dict[str, int]:
        """Apply the changes at the vendor's pace, by a client that ``around`` makes of the real one."""
        with self.client() as client:
            used = Paced(client) if around is None else around(Paced(client))
            return self.apply(instance_id, client=used, clock=present)

    def read_back(self, instance_id: int, around: Any = None) -> dict[str, int]:
        """Verify the changes."""
        with self.client(may_write=False) as client:
            used = Paced(client) if around is None else around(Paced(client))
            return verify_changes(self.dsn, instance_id, used, clock=present)

    def pages(self) -> int:
        """Return the pages of the device list that the carrier has sent since the figures were reset."""
        return int(self.carrier.stats(self.account)["calls_by_endpoint"].get("GET /devices", 0))

    def modified_since(self, moment: datetime) -> list[str]:
        """Return the SIMs modified at the carrier since a moment, in order of modification."""
        truth = self.carrier.truth(self.account)["devices"]
        dates = {sim["iccid"]: datetime.fromisoformat(sim["date_updated"]) for sim in truth}
        return sorted((iccid for iccid, date in dates.items() if date >= moment), key=lambda iccid: dates[iccid])

    def other_plan(self, sim: dict[str, Any]) -> str:
        """Return a rate plan that a SIM neither is on nor shall be on."""
        taken = {sim["rate_plan"], sim["target"]}
        return next(plan.rate_plan_code for plan in self.provider.rate_plans if plan.rate_plan_code not in taken)
