"""A carrier that answers exactly what a test tells it to, over real HTTP: for records that no fleet would have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from sandbox.background_server import BackgroundServer

API = "/rws/api/v1"


class RawCarrier:
    """Answers of a Control Center account.

    Attributes:
        pages: the records of each page of the device list.
        usage: (rate plan code, usage type) → the zones of each page, of version 1; what is not there is empty.
        single: ICCID → answer to ``/ctdUsages``; who is not there has used nothing.
    """

    api_key = "raw-carrier-key"

    def __init__(self) -> None:
        self.pages: list[list[Any]] = [[]]
        self.usage: dict[tuple[str, str], list[list[Any]]] = {}
        self.single: dict[str, dict[str, Any]] = {}
        self.base_url = ""

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application()
        application.add_routes(
            [
                web.get(f"{API}/devices", self._devices),
                web.get(f"{API}/usages", self._usages),
                web.get(f"{API}/devices/{{iccid}}", self._details),
                web.get(f"{API}/devices/{{iccid}}/ctdUsages", self._single),
            ]
        )
        return application

    async def _devices(self, request: web.Request) -> web.Response:
        return _page(request, "devices", self.pages)

    async def _usages(self, request: web.Request) -> web.Response:
        read = (request.query["ratePlanName"], request.query["usageType"])
        pages = self.usage.get(read, [[]]) if request.query["ratePlanVersion"] == "1" else [[]]
        return _page(request, "zones", pages)

    async def _details(self, request: web.Request) -> web.Response:
        return _json({"iccid": request.match_info["iccid"]})

    async def _single(self, request: web.Request) -> web.Response:
        iccid = request.match_info["iccid"]
        return _json(self.single.get(iccid, {"iccid": iccid, "ctdDataUsage": 0}))


def _page(request: web.Request, key: str, pages: list[list[Any]]) -> web.Response:
    number = int(request.query["pageNumber"])
    return _json({"pageNumber": number, key: pages[number - 1], "lastPage": number == len(pages)})


def _json(document: Any) -> web.Response:
    # Escaped: a half of a surrogate pair travels as \\ud800, as it would from a careless carrier.
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
