"""An API family that is not Cisco's, with writes and with its integration optimized; only for tests.

The fleet and its price list are the sandbox's. Nothing else is like Control Center: SIMs come as text lines of
``/stock`` after a mark, usage comes one SIM at a time, and a plan is changed by POST.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from aiohttp import web

from amop.carriers.circuit_breaker import CircuitOpenError
from amop.carriers.errors import CarrierRequestError, CarrierUnavailableError, CarrierWriteInDoubtError
from amop.carriers.http_client import HttpCarrierClient, Request
from amop.carriers.malformed import TransientError
from amop.carriers.protocol import DevicePage, UsagePage
from amop.carriers.vendor_answers import AnswerKind
from amop.config import Integration
from amop.families import Capabilities, Family, Limits
from sandbox.carrier.account import CarrierAccount, RequestRefusedError
from sandbox.http_server import BackgroundServer

FAMILY = Family(
    "plain",
    "Plain",
    "plain_devices",
    usage_types=("DATA", "SMS"),
    limits=Limits(calls_per_second=1000),
    capabilities=Capabilities(writes=True),
)
INTEGRATION_ID = 99
PAGE_SIZE = 40
INTEGRATION_ROW = (
    "INSERT INTO amop.integration (id, name, display_name, family, portal_type_id, daily_sync_key,"
    f" supports_optimization) VALUES ({INTEGRATION_ID}, 'plain', 'Plain', 'plain', 0, 'plain_devices', true)"
)


def integration() -> Integration:
    """Return the integration, which is optimized; the family must be in the registry."""
    return Integration("plain", "Plain", "plain", 0, True, "0 6 * * *")


@dataclass
class PlainServer:
    """The carrier's server over an account of the sandbox."""

    account: CarrierAccount
    calls: list[str] = field(default_factory=list)

    async def list_sims(self, request: web.Request) -> web.Response:
        """Answer the SIMs after a mark."""
        self.calls.append("list")
        mark = request.query.get("mark", "")
        iccids = [iccid for iccid in sorted(self.account.sims) if iccid > mark]
        return web.json_response(
            {"lines": [self._line(iccid) for iccid in iccids[:PAGE_SIZE]], "rest": len(iccids) > PAGE_SIZE}
        )

    async def one(self, request: web.Request) -> web.Response:
        """Answer one SIM with its counters."""
        self.calls.append("one")
        iccid = request.match_info["iccid"]
        if iccid not in self.account.sims:
            return web.json_response({"error": "unknown", "error_description": "no such SIM"}, status=404)
        sim = self.account.sims[iccid]
        activated = sim.date_activated.isoformat() if sim.date_activated else None
        return web.json_response(
            {"line": self._line(iccid), "bytes": sim.data_usage, "texts": sim.sms_usage, "imsi": sim.imsi,
             "on": activated}
        )  # fmt: skip

    async def move(self, request: web.Request) -> web.Response:
        """Move a SIM to another plan."""
        self.calls.append("move")
        try:
            self.account.change_rate_plan(request.match_info["iccid"], (await request.json())["tariff"])
        except RequestRefusedError as refused:
            return web.json_response({"error": "refused", "error_description": refused.message}, status=409)
        return web.json_response({"line": self._line(request.match_info["iccid"])})

    def _line(self, iccid: str) -> str:
        sim = self.account.sims[iccid]
        return "|".join([iccid, sim.status, sim.rate_plan or "", sim.communication_plan or ""])

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on a loopback port; yield the address."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/stock", self.list_sims),
                web.get("/stock/{iccid}", self.one),
                web.post("/stock/{iccid}/tariff", self.move),
            ]
        )
        background = BackgroundServer(application)
        background.start()
        try:
            yield background.base_url
        finally:
            background.stop()


class PlainClient(HttpCarrierClient):
    """The client of the family."""

    def list_devices_page(
        self,
        *,
        modified_since: datetime,
        modified_till: datetime | None = None,
        page_number: int,
        page_size: int | None = None,
        after: str | None = None,
    ) -> DevicePage:
        """See `CarrierClient`."""

        def read(document: dict[str, Any]) -> DevicePage:
            devices = [_record(line) for line in document["lines"]]
            is_last = not document["rest"]
            whole = {"pageNumber": page_number, "devices": devices, "lastPage": is_last}
            return DevicePage(
                page_number, devices, is_last, whole, next_after=None if is_last else devices[-1]["iccid"]
            )

        return self._call(Request("GET", "/stock", {"mark": after or ""}), read=read)

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        document = self._one(iccid)
        return _record(document["line"]) | {"imsi": document["imsi"], "dateActivated": document["on"]}

    def device_ctd_usage(self, iccid: str, *, cycle_start: date) -> dict[str, Any]:
        """See `CarrierClient`."""
        document = self._one(iccid)
        return {"iccid": iccid, "ctdDataUsage": document["bytes"], "ctdSMSUsage": document["texts"]}

    def rate_plan_usage_page(
        self, *, rate_plan_code: str, rate_plan_version: int, usage_type: str, cycle_start: date, page_number: int
    ) -> UsagePage:
        """Refuse: the family has no bulk usage."""
        raise CarrierRequestError("no bulk usage", status=400, error_message="no bulk usage")

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """See `CarrierClient`."""
        request = Request("POST", f"/stock/{iccid}/tariff", body={"tariff": rate_plan_code}, is_write=True)
        try:
            answer = self._send_once(request)
        except CircuitOpenError as error:
            raise CarrierUnavailableError(str(error), retry_at=error.circuit.open_until) from None
        except TransientError as error:
            raise CarrierWriteInDoubtError(str(error)) from None
        if answer.kind is AnswerKind.REFUSED:
            self._raise_final(answer, self._about(request))
        if answer.kind is not AnswerKind.SUCCESS:
            raise CarrierWriteInDoubtError(answer.describe(self._scrubber))

    def _one(self, iccid: str) -> dict[str, Any]:
        return self._call(Request("GET", f"/stock/{iccid}"), read=lambda document: document)


def _record(line: str) -> dict[str, Any]:
    iccid, status, rate_plan, communication_plan = line.split("|")
    return {
        "iccid": iccid,
        "status": status,
        "ratePlan": rate_plan or None,
        "communicationPlan": communication_plan or None,
    }
