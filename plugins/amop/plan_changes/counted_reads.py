"""Count the reads of a carrier client, for the instance whose plan changes they check and read back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from amop.carriers.protocol import CarrierClient, DevicePage
from amop.database.connection import WarehouseConnection
from amop.plan_changes import store


class CountedReads:
    """The part of a carrier client that plan changes need, with a count of its reads.

    Args:
        client: client of the provider's account.
    """

    def __init__(self, client: CarrierClient) -> None:
        self._client = client
        self._count = 0

    def list_devices_page(self, *, modified_since: datetime, page_number: int, page_size: int) -> DevicePage:
        """See `CarrierClient`."""
        self._count += 1
        return self._client.list_devices_page(
            modified_since=modified_since, page_number=page_number, page_size=page_size
        )

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        self._count += 1
        return self._client.device_details(iccid)

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """See `CarrierClient`."""
        self._client.change_rate_plan(iccid, rate_plan_code)

    def record(self, connection: WarehouseConnection, instance_id: int) -> None:
        """Add the reads since the last call to the instance."""
        if self._count:
            store.sending.add_reads(connection, instance_id=instance_id, read_count=self._count)
            self._count = 0
