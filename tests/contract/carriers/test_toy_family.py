"""A dry run of docs/add-a-carrier.md: a toy family, from its registry entry to merged SIMs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest
import requests
from aiohttp import web
from psycopg.rows import dict_row

from amop import config, families
from amop.carriers import registry
from amop.carriers.account import CarrierAccount
from amop.carriers.errors import CarrierRequestError
from amop.carriers.http_client import CallGate
from amop.carriers.protocol import CarrierClient, DevicePage, ListLimits, UsagePage
from amop.device_sync import fetch
from amop.device_sync.complete_run import complete_run, session_to_optimize
from amop.device_sync.merge import merge_devices, merge_usage
from amop.runs.opening import SyncRequest, open_runs
from sandbox.http_server import BackgroundServer
from tests.worlds.family_parts import missing_parts
from tests.worlds.moments import present
from tests.worlds.open_gate import OpenGate
from tests.worlds.sandbox_reference import load_sandbox_reference

SIMS = [f"890117000000000000{number:02}" for number in range(5)]
PAGE = "| `toy` | Toy |"
INTEGRATION_ROW = (
    "INSERT INTO amop.integration (id, name, display_name, family, portal_type_id, daily_sync_key,"
    " supports_optimization) VALUES (99, 'toy', 'Toy', 'toy', 0, 'toy_devices', false)"
)


class ToyServer:
    """The sandbox server: pages of two SIMs, kilobytes of each."""

    def __init__(self) -> None:
        application = web.Application()
        application.add_routes([web.get("/sims", self._list), web.get("/sims/{id}", self._one)])
        self.background = BackgroundServer(application)

    async def _list(self, request: web.Request) -> web.Response:
        start = 2 * int(request.query["page"]) - 2
        return web.json_response({"sims": SIMS[start : start + 2], "more": start + 2 < len(SIMS)})

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["id"], "kilobytes": 3, "state": "on"})


@dataclass
class ToyClient:
    """The client class: it returns every answer with the keys of `amop.carriers.protocol`."""

    account: CarrierAccount
    gate: CallGate
    may_write: bool = False
    list_limits = ListLimits()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.gate.close()

    def _get(self, path: str) -> Any:
        with self.gate.call(), requests.Session() as session:
            session.trust_env = False
            with session.get(f"{self.account.base_url}{path}", timeout=10) as response:
                return response.json()

    def list_devices_page(
        self,
        *,
        modified_since: datetime,
        modified_till: datetime | None = None,
        page_number: int,
        page_size: int | None = None,
        after: str | None = None,
    ) -> DevicePage:
        answer = self._get(f"/sims?page={page_number}")
        devices = [
            {"iccid": sim, "status": "ACTIVATED", "ratePlan": "Toy", "communicationPlan": "Toy"}
            for sim in answer["sims"]
        ]
        document = {"pageNumber": page_number, "devices": devices, "lastPage": not answer["more"]}
        return DevicePage(page_number, devices, not answer["more"], document)

    def device_details(self, iccid: str) -> dict[str, Any]:
        return {"iccid": self._get(f"/sims/{iccid}")["id"]}

    def device_ctd_usage(self, iccid: str, *, cycle_start: date) -> dict[str, Any]:
        answer = self._get(f"/sims/{iccid}")
        return {"iccid": answer["id"], "ctdDataUsage": 1000 * answer["kilobytes"]}

    def rate_plan_usage_page(
        self, *, rate_plan_code: str, rate_plan_version: int, usage_type: str, cycle_start: date, page_number: int
    ) -> UsagePage:
        raise CarrierRequestError("no bulk usage", status=400, error_message="no bulk usage")

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        raise NotImplementedError


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the registry's entry, the client class and the integration."""
    entry = families.Family("toy", "Toy", "toy_devices", limits=families.Limits(calls_per_second=100, page_size=2))
    monkeypatch.setitem(families.FAMILIES, "toy", entry)
    monkeypatch.setitem(registry.CLIENTS, "toy", ToyClient)
    monkeypatch.setitem(
        config.KNOWN_INTEGRATIONS, "toy", config.Integration("toy", "Toy", "toy", 0, False, "0 5 * * *")
    )


@pytest.fixture
def client() -> Iterator[CarrierClient]:
    server = ToyServer()
    server.background.start()
    account = CarrierAccount("c", "Toy", server.background.base_url, "user", "key", is_loopback=True)
    try:
        with registry.client_of("toy", account, OpenGate(), may_write=True) as made:
            yield made
    finally:
        server.background.stop()


def test_the_recipe_names_each_part_until_all_are_there(toy: None, tmp_path: Path) -> None:
    def missing(clients: set[str], servers: set[str], page: str) -> list[str]:
        return missing_parts("toy", clients=clients, servers=servers, shapes=tmp_path, page=page)

    assert missing(set(), set(), "") == [
        "its row in docs/carriers.md",
        "its client class in amop.carriers.registry.CLIENTS",
        "its sandbox server in sandbox.carrier.running.FAMILY_SERVERS",
        "its shape device_list.json",
        "its shape device_details.json",
        "its shape ctd_usage.json",
    ]
    (tmp_path / "toy").mkdir()
    for operation in ("device_list", "device_details", "ctd_usage"):
        (tmp_path / "toy" / f"{operation}.json").write_text(json.dumps({}))
    assert missing({"toy"}, {"toy"}, PAGE) == []
    assert missing_parts("toy2", clients=set(), servers=set(), shapes=tmp_path, page=PAGE) == [
        "its entry in amop.families.FAMILIES"
    ]


def test_a_toy_family_is_synced_and_merged_with_nothing_but_its_parts(
    toy: None, client: CarrierClient, warehouse_dsn: str
) -> None:
    load_sandbox_reference(warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute(INTEGRATION_ROW)
        connection.execute("UPDATE amop.service_provider SET integration_id = 99 WHERE id = 1")
    (run,) = open_runs(warehouse_dsn, SyncRequest("toy", "device_sync_toy", "d", optimization="always"), now=present())
    fetch.queue_sync(warehouse_dsn, run.run_id)
    fetch.fetch_devices(warehouse_dsn, run.run_id, client)
    with psycopg.connect(warehouse_dsn) as connection:
        kinds = connection.execute(
            "SELECT kind, count(*) FROM amop.device_usage_to_process WHERE run_id = %s GROUP BY kind ORDER BY kind",
            [run.run_id],
        ).fetchall()
    assert kinds == [("device_details", 5), ("device_usage", 5)]  # no bulk read: the family cannot do any
    fetch.fetch_usage(warehouse_dsn, run.run_id, client)
    merge_devices(warehouse_dsn, run.run_id, now=present())
    merge_usage(warehouse_dsn, run.run_id, now=present())
    complete_run(warehouse_dsn, run.run_id, now=present())
    with psycopg.connect(warehouse_dsn, row_factory=dict_row) as connection:
        devices = connection.execute("SELECT iccid, ctd_data_usage FROM amop.device ORDER BY iccid").fetchall()
        notice = connection.execute("SELECT payload FROM amop.amop_outbox WHERE kind = 'daily_sync'").fetchone()
    assert devices == [{"iccid": sim, "ctd_data_usage": 3000} for sim in SIMS]
    assert notice is not None and notice["payload"]["data"]["key_name"] == "toy_devices"
    assert session_to_optimize(warehouse_dsn, run.run_id) is None
