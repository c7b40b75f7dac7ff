"""A plain HTTP client of the sandbox carrier for tests and manual trials, without throttling and retries."""

from __future__ import annotations

from collections import Counter
from typing import Any

import requests

from sandbox.carrier.running import RunningCarrier


class CarrierClient:
    """Call the sandbox carrier as one API user, bypassing any proxy."""

    def __init__(self, carrier: RunningCarrier, account: str | None = None, key: str | None = None) -> None:
        """Use an account (default: the first one) and an API key (default: the valid one)."""
        self.carrier = carrier
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (account or carrier.accounts[0], key or carrier.api_key)

    def get(self, path: str, timeout: float = 10, **query: Any) -> requests.Response:
        """Send ``GET /rws/api/v1<path>`` with a timeout in seconds."""
        return self.session.get(f"{self.carrier.base_url}/rws/api/v1{path}", params=query, timeout=timeout)

    def put(self, iccid: str, body: Any) -> requests.Response:
        """Send ``PUT /devices/{iccid}``."""
        address = f"{self.carrier.base_url}/rws/api/v1/devices/{iccid}"
        return self.session.put(address, json=body, timeout=10)

    def list_page(self, number: int, since: str = "2000-01-01T00:00:00Z") -> requests.Response:
        """Request one page of the device list."""
        return self.get("/devices", modifiedSince=since, pageSize=50, pageNumber=number)

    def whole_list(self, since: str = "2000-01-01T00:00:00Z") -> list[dict[str, Any]]:
        """Return the whole device list."""
        devices: list[dict[str, Any]] = []
        for number in range(1, 100):
            page = self.list_page(number, since).json()
            devices += page["devices"]
            if page["lastPage"]:
                return devices
        raise RuntimeError("the list has no last page")

    def whole_usage(self, plan: str, version: int, usage_type: str, cycle_start: str) -> tuple[Counter[str], int, int]:
        """Return the whole usage of a rate plan: usage by ICCID, number of pages, number of SIMs in two zones.

        Raises:
            RuntimeError: a page is not the requested one or has more than 50 SIMs, or there is no last page.
        """
        key = f"{usage_type.lower()}Usage"
        used: Counter[str] = Counter()
        in_two_zones = 0
        for number in range(1, 100):
            page = self.get(
                "/usages",
                ratePlanName=plan,
                ratePlanVersion=version,
                usageType=usage_type,
                cycleStartDate=cycle_start,
                pageSize=50,
                pageNumber=number,
            ).json()
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
