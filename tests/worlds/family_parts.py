"""What every carrier API family has: its entry, client, sandbox server, shapes and documentation; for tests.

A shape is an answer of the carrier as its public documentation gives it, in
``tests/contract/carriers/shapes/<family>/<operation>.json``: the source, the client's call, the requests that it makes
``before`` (sign-in), the request itself, the answer, the answer to ``later`` requests of the same kind if it differs,
and what the client returns.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from amop.carriers.protocol import CarrierClient, DevicePage, UsagePage
from amop.families import FAMILIES, Family
from sandbox.http_server import BackgroundServer

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / "tests" / "contract" / "carriers" / "shapes"
CARRIERS_PAGE = ROOT / "docs" / "carriers.md"


def operations_of(family: Family) -> tuple[str, ...]:
    """Return the operations that a family's client has, by the names of their shapes."""
    return (
        "device_list",
        "device_details",
        "ctd_usage",
        *(("rate_plan_usage",) if family.capabilities.bulk_usage else ()),
        *(("plan_change",) if family.capabilities.writes else ()),
    )


def missing_parts(
    name: str, *, clients: Collection[str], servers: Collection[str], shapes: Path, page: str
) -> list[str]:
    """Return the parts of the recipe in docs/add-a-carrier.md that a family does not have."""
    family = FAMILIES.get(name)
    if family is None:
        return ["its entry in amop.families.FAMILIES"]
    missing = [] if f"| `{name}` |" in page else ["its row in docs/carriers.md"]
    if not family.has_client:
        return missing + ([] if name not in clients else ["its limits in amop.families.FAMILIES"])
    if name not in clients:
        missing.append("its client class in amop.carriers.registry.CLIENTS")
    if name not in servers:
        missing.append("its sandbox server in sandbox.carrier.running.FAMILY_SERVERS")
    known = {path.stem for path in (shapes / name).glob("*.json")}
    return missing + [f"its shape {operation}.json" for operation in operations_of(family) if operation not in known]


@dataclass
class ShapeServer:
    """A carrier that gives one shape's answer to the shape's request, and 404 to every other."""

    shape: Mapping[str, Any]
    sent: list[Any] = field(default_factory=list)
    """Bodies of the requests."""
    is_answered: bool = False
    """True when the shape's answer was given."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        for earlier in self.shape.get("before", ()):
            if (request.method, request.path) == (earlier["method"], earlier["path"]):
                return web.json_response(earlier["answer"])
        if (request.method, request.path) != (self.shape["request"]["method"], self.shape["request"]["path"]):
            return web.json_response({"errorMessage": "no such call in this shape"}, status=404)
        if request.can_read_body:
            self.sent.append(await request.json())
        answer = self.shape.get("later", self.shape["answer"]) if self.is_answered else self.shape["answer"]
        self.is_answered = True
        return web.json_response(answer, status=self.shape["status"])

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on a loopback port; yield the address."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        background = BackgroundServer(application)
        background.start()
        try:
            yield background.base_url
        finally:
            background.stop()


def read_shape(path: Path) -> dict[str, Any]:
    """Return a shape."""
    shape: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return shape


def call_of_shape(client: CarrierClient, shape: Mapping[str, Any]) -> Any:
    """Make the shape's call and return its result in the form of ``expected``."""
    given = dict(shape["call"]["arguments"])
    if "modified_since" in given:
        given["modified_since"] = datetime.fromisoformat(given["modified_since"])
    if "cycle_start" in given:
        given["cycle_start"] = date.fromisoformat(given["cycle_start"])
    result = getattr(client, shape["call"]["operation"])(**given)
    if isinstance(result, DevicePage):
        found = {"page_number": result.page_number, "is_last_page": result.is_last_page, "devices": result.devices}
        return found | ({"next_after": result.next_after} if result.next_after else {})
    if isinstance(result, UsagePage):
        records = [[record.iccid, record.usage] for record in result.records]
        return {"is_last_page": result.is_last_page, "records": records}
    return result
