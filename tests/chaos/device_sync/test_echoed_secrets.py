"""A carrier and AMOP echo the credentials of the request in every form: no form is stored, archived or sent."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from amop.archive.archive_run import archive_run
from amop.carriers.errors import CarrierRequestError
from amop.database.connection import transaction
from amop.device_sync import fetch
from amop.foreign_text import SHORTEST_PART
from amop.messages.amop_client import AmopRefusedError
from amop.messages.delivery import deliver_outbox
from amop.runs.sync_runs import end_run
from tests.worlds.canaries import tables
from tests.worlds.moments import present
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.sync_world import SyncWorld

KEY = "c4n4ry-9f/27+key=71d3"
BASIC = base64.b64encode(f"api_jasper:{KEY}".encode()).decode()
FORMS = [
    KEY, quote(KEY, safe=""), quote(KEY, safe="").replace("%2F", "%2f"), BASIC, BASIC.rstrip("="), f"Basic {BASIC}",
    base64.b64encode(KEY.encode()).decode(), base64.b64encode(f"Authorization: Basic {KEY}".encode()).decode(),
    KEY.encode().hex(), KEY.encode().hex().upper(), f"Bearer {KEY}", KEY[:12], KEY[8:], BASIC[:20],
]  # fmt: skip
"""The last ones are what truncation leaves."""


@pytest.fixture(scope="module")
def carrier() -> Iterator[RawCarrier]:
    with running_raw_carrier() as carrier:
        yield carrier


def parts() -> set[str]:
    """Return the runs of characters that must be nowhere: of the key, and of its base64 beyond the user's name."""
    encoded = {BASIC[16:], base64.b64encode(KEY.encode()).decode()}
    return {text[at : at + SHORTEST_PART] for text in {KEY, *encoded} for at in range(len(text) - SHORTEST_PART + 1)}


def iccid_of(number: int) -> str:
    return f"8901{number:015d}"


class Amop:
    """Refuses every message and echoes the words that it got."""

    def post(self, _kind: str, payload: Any, _key: str) -> None:
        raise AmopRefusedError(f"AMOP returned 400: {json.dumps(payload)}")


def test_no_form_of_an_echoed_key_is_stored_archived_logged_or_sent(
    carrier: RawCarrier, warehouse_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "amop")
    world = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 1, detail_calls_per_run = 50 RETURNING id")
    sims = [
        {"iccid": iccid_of(number), "status": "ACTIVATED", "ratePlan": "ATT 25 MB", "communicationPlan": "Data LTE",
         "note": f"you sent {form}", "nested": [{form: f"{form}!"}]}
        for number, form in enumerate(FORMS)
    ]  # fmt: skip
    broken = [{**sims[0], "iccid": f"not an iccid, you sent {form}"} for form in FORMS]
    carrier.pages = [[*sims, *broken]]
    zone = [{"deviceId": iccid_of(number), "usage": {"dataUsage": form}} for number, form in enumerate(FORMS)]
    carrier.usage = {("ATT 25 MB", "DATA"): [[{"zone": f"home {FORMS[0]}", "devices": zone}]]}
    carrier.details = {
        iccid_of(number): {"iccid": iccid_of(number), "imsi": form, "customer": form}
        for number, form in enumerate(FORMS)
    }
    carrier.refusals = {iccid_of(number): (404, f"no SIM for {form}") for number, form in enumerate(FORMS)}
    run_id = world.open("echo", optimization="always")
    fetch.queue_sync(world.dsn, run_id)
    with world.client(KEY) as client:
        fetch.fetch_devices(world.dsn, run_id, client)
        fetch.fetch_usage(world.dsn, run_id, client)
        with pytest.raises(CarrierRequestError) as refused:
            client.device_ctd_usage(iccid_of(3))
    world.merge(run_id)
    archive_run(world.dsn, run_id, tmp_path, now=present())  # type: ignore[arg-type]
    failing = world.open("failing", optimization="never")
    with transaction(world.dsn) as connection:
        end_run(connection, failing, "failed", str(refused.value))
    deliver_outbox(world.dsn, Amop())  # type: ignore[arg-type]

    archives = [gzip.decompress(path.read_bytes()).decode() for path in tmp_path.rglob("*.gz")]
    assert len(archives) == 1 and archives[0].count("you sent ***") >= len(FORMS) - 3
    stored = [(name, blob.decode(errors="replace")) for name, blob in tables(world.dsn) if name.startswith("amop.")]
    places = [*stored, ("archive", archives[0]), ("log", caplog.text), ("error", str(refused.value))]
    found = {(where, part) for where, text in places for part in parts() if part in text}
    assert found == set()
    assert world.count("device_quarantine", "raw::text LIKE '%***%'") >= len(FORMS)
