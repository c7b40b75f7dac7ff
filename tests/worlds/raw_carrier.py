"""Run a carrier over real HTTP whose answers a test sets record by record, for records that no fleet has."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from sandbox.http_server import BackgroundServer

API = "/rws/api/v1"


class RawCarrier:
    """Answers of a Control Center account.

    Attributes:
        pages: the records of each page of the device list.
        usage: (rate plan code, usage type) → the zones of each page, of version 1; a missing key has no usage.
        single: ICCID → answer to ``/ctdUsages``; a missing SIM has no usage.
        details: ICCID → answer to ``/devices/{iccid}``; a missing SIM has no details.
        paths: the path and query of every call.
        refusals: (rate plan code, usage type, version) or ICCID → status and message of the refusal of its usage.
        calls: the usage reads that were answered or refused, as the keys of ``refusals``.
    """

    api_key = "raw-carrier-key"

    def __init__(self) -> None:
        self.pages: list[list[Any]] = [[]]
        self.usage: dict[tuple[str, str], list[list[Any]]] = {}
        self.single: dict[str, dict[str, Any]] = {}
        self.details: dict[str, dict[str, Any]] = {}
        self.paths: list[str] = []
        self.refusals: dict[Any, tuple[int, str]] = {}
        self.calls: list[Any] = []
        self.base_url = ""

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(middlewares=[self._recorded])
        application.add_routes(
            [
                web.get(f"{API}/devices", self._devices),
                web.get(f"{API}/usages", self._usages),
                web.get(f"{API}/devices/{{iccid}}", self._details),
                web.get(f"{API}/devices/{{iccid}}/ctdUsages", self._single),
            ]
        )
        return application

    @web.middleware
    async def _recorded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        return await handler(request)

    async def _devices(self, request: web.Request) -> web.Response:
        return _page(request, "devices", self.pages)

    async def _usages(self, request: web.Request) -> web.Response:
        read = (request.query["ratePlanName"], request.query["usageType"])
        version = (*read, int(request.query["ratePlanVersion"]))
        self.calls.append(version)
        if version in self.refusals:
            return _refusal(*self.refusals[version])
        pages = self.usage.get(read, [[]]) if request.query["ratePlanVersion"] == "1" else [[]]
        return _page(request, "zones", pages)

    async def _details(self, request: web.Request) -> web.Response:
        iccid = request.match_info["iccid"]
        return _json(self.details.get(iccid, {"iccid": iccid}))

    async def _single(self, request: web.Request) -> web.Response:
        iccid = request.match_info["iccid"]
        self.calls.append(iccid)
        if iccid in self.refusals:
            return _refusal(*self.refusals[iccid])
        return _json(self.single.get(iccid, {"iccid": iccid, "ctdDataUsage": 0}))


def _page(request: web.Request, key: str, pages: list[list[Any]]) -> web.Response:
    number = int(request.query["pageNumber"])
    return _json({"pageNumber": number, key: pages[number - 1], "lastPage": number == len(pages)})


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"errorMessage": message}, status=status)


def _json(document: Any) -> web.Response:
    # Escaped: a lone surrogate is sent as \\ud800.
    return web.Response(text=json.dumps(document), content_type="application/json")


@contextmanager
def running_raw_carrier() -> Iterator[RawCarrier]:
    """Run a raw carrier in a thread on a free loopback port."""
    carrier = RawCarrier()
    background = BackgroundServer(carrier.application())
    background.start()
    carrier.base_url = background.base_url
    try:
        yield carrier
    finally:
        background.stop()
