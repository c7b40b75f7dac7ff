"""A plain client of the sandbox carrier, for its tests and for trying it by hand: no throttle, no retries."""

from __future__ import annotations

from collections import Counter
from typing import Any

import requests

from sandbox.carrier import RunningCarrier


class Caller:
    """Calls the carrier as one API user, through no proxy."""

    def __init__(self, carrier: RunningCarrier, account: str | None = None, key: str | None = None) -> None:
        """Call as an account (None = the first one) with a key (None = the right one)."""
        self.carrier = carrier
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (account or carrier.accounts[0], key or carrier.api_key)

    def get(self, path: str, timeout: float = 10, **query: Any) -> requests.Response:
        """Call ``GET /rws/api/v1<path>``; ``timeout`` in seconds."""
        return self.session.get(f"{self.carrier.base_url}/rws/api/v1{path}", params=query, timeout=timeout)

    def put(self, iccid: str, body: Any) -> requests.Response:
        """Edit a SIM."""
        address = f"{self.carrier.base_url}/rws/api/v1/devices/{iccid}"
        return self.session.put(address, json=body, timeout=10)

    def list_page(self, number: int, since: str = "2000-01-01T00:00:00Z") -> requests.Response:
        """Ask for one page of the device list."""
        return self.get("/devices", modifiedSince=since, pageSize=50, pageNumber=number)

    def whole_list(self, since: str = "2000-01-01T00:00:00Z") -> list[dict[str, Any]]:
        """Read the device list up to its last page."""
        devices: list[dict[str, Any]] = []
        for number in range(1, 100):
            page = self.list_page(number, since).json()
            devices += page["devices"]
            if page["lastPage"]:
                return devices
        raise RuntimeError("the list has no last page")

    def whole_usage(self, plan: str, version: int, usage_type: str, cycle_start: str) -> tuple[Counter[str], int, int]:
        """Read a plan's usage up to its last page: usage by ICCID, number of pages, SIMs in two zones.

        Raises:
            RuntimeError: a page is not the one asked for, holds more than 50 SIMs, or there is no last one.
        """
        key = f"{usage_type.lower()}Usage"
        used: Counter[str] = Counter()
        in_two_zones = 0
        for number in range(1, 100):
            answer = self.get(
                "/usages", ratePlanName=plan, ratePlanVersion=version, usageType=usage_type,
                cycleStartDate=cycle_start, pageSize=50, pageNumber=number,
            )  # fmt: skip
            page = answer.json()
            records = [record for zone in page["zones"] for record in zone["devices"]]
            for record in records:
                used[record["deviceId"]] += record["usage"][key]
            distinct = {record["deviceId"] for record in records}
            found = (page["ratePlanName"], page["ratePlanVersion"], page["pageNumber"])
            if found != (plan, version, number) or len(distinct) > 50:
                raise RuntimeError(f"page {number} of {plan} version {version} is {found}, {len(distinct)} SIMs")
            in_two_zones += len(records) - len(distinct)
            if page["lastPage"]:
                return used, number, in_two_zones
        raise RuntimeError("the usage has no last page")
