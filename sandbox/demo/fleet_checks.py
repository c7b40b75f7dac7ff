"""Compare the SIMs of the warehouse with those of the carrier."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
import requests

from sandbox.carrier.catalogue import ServiceProvider
from sandbox.world.world import World

DEVICES = """
SELECT
    iccid, status, rate_plan, communication_plan, ctd_data_usage, ctd_sms_usage, sms_is_read, is_active,
    details_read_at, imsi, msisdn, imei, date_activated
FROM amop.device
WHERE service_provider_id = %(service_provider_id)s
"""


MOVED = """
SELECT DISTINCT
    device.iccid,
    device.ctd_data_usage
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
WHERE device.service_provider_id = %(service_provider_id)s AND change.state = 'applied'
"""


def equal_devices(
    world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider, *, is_closed: bool
) -> tuple[int, int]:
    """Return the number of SIMs at the carrier, and how many of them the warehouse has with equal values.

    Where the billing period was closed by moving it into the past (``is_closed``), the carrier still shows the usage of
    SIMs that were retired within it; a sync of the next period does not ask for it, and it is not compared.
    """
    truth = document_at(f"{world.carrier_address}/sandbox/truth/{provider.api_user}")["devices"]
    rows = {row["iccid"]: row for row in warehouse.execute(DEVICES, {"service_provider_id": provider.id}).fetchall()}
    equal = sum(
        device["iccid"] in rows and _is_equal(rows[device["iccid"]], device, is_closed=is_closed) for device in truth
    )
    known = {device["iccid"] for device in truth}
    surplus = sum(row["is_active"] for iccid, row in rows.items() if iccid not in known)
    return len(truth), equal - surplus


def equal_messages(world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider) -> tuple[int, int]:
    """Return the number of SIMs whose messages were read, and of those with the carrier's number of messages."""
    devices = _devices_by_iccid(world, provider)
    rows = warehouse.execute(DEVICES, {"service_provider_id": provider.id}).fetchall()
    read = [row for row in rows if row["sms_is_read"] and row["iccid"] in devices]
    return len(read), sum(row["ctd_sms_usage"] == devices[row["iccid"]]["sms_usage"] for row in read)


def equal_retired(
    world: World, warehouse: psycopg.Connection[Any], providers: Sequence[ServiceProvider]
) -> tuple[int, int]:
    """Return the number of SIMs retired within the billing period that used data, and of those with that usage here."""
    found, equal = 0, 0
    for provider in providers:
        devices = _devices_by_iccid(world, provider)
        retired = {iccid for iccid, device in devices.items() if device["status"] == "RETIRED" and device["data_usage"]}
        rows = warehouse.execute(DEVICES, {"service_provider_id": provider.id}).fetchall()
        found += len(retired)
        equal += sum(
            row["iccid"] in retired and row["ctd_data_usage"] == devices[row["iccid"]]["data_usage"] for row in rows
        )
    return found, equal


def moved_usage(
    world: World, warehouse: psycopg.Connection[Any], providers: Sequence[ServiceProvider]
) -> tuple[int, int]:
    """Return the number of SIMs whose plan changes were applied, and of those with the carrier's usage of the period.

    One carrier account gives bulk usage for the plan that it was used on, the others for the SIM's present plan.
    """
    found, equal = 0, 0
    for provider in providers:
        devices = _devices_by_iccid(world, provider)
        moved = warehouse.execute(MOVED, {"service_provider_id": provider.id}).fetchall()
        found += len(moved)
        equal += sum(row["ctd_data_usage"] == devices[row["iccid"]]["data_usage"] for row in moved)
    return found, equal


def _devices_by_iccid(world: World, provider: ServiceProvider) -> dict[str, dict[str, Any]]:
    truth = document_at(f"{world.carrier_address}/sandbox/truth/{provider.api_user}")["devices"]
    return {device["iccid"]: device for device in truth}


def equal_details(world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider) -> tuple[int, int]:
    """Return the number of SIMs whose details were read, and of those with the carrier's date and numbers."""
    devices = _devices_by_iccid(world, provider)
    rows = warehouse.execute(DEVICES, {"service_provider_id": provider.id}).fetchall()
    read = [row for row in rows if row["details_read_at"] is not None and row["iccid"] in devices]
    return len(read), sum(_details(row) == _true_details(devices[row["iccid"]]) for row in read)


def _details(row: dict[str, Any]) -> tuple[object, ...]:
    return row["date_activated"], row["imsi"], row["msisdn"], row["imei"]


def _true_details(device: dict[str, Any]) -> tuple[object, ...]:
    activated = device["date_activated"]
    moment = datetime.fromisoformat(activated) if activated else None
    return moment, device["imsi"], device["msisdn"], device["imei"]


def _is_equal(row: dict[str, Any], device: dict[str, Any], *, is_closed: bool) -> bool:
    if any(row[name] != device[name] for name in ("status", "rate_plan", "communication_plan")):
        return False
    is_over = is_closed and device["status"] == "RETIRED"
    return is_over or bool(row["ctd_data_usage"] == device["data_usage"])


def document_at(address: str) -> Any:
    """Return the JSON document at an address of the sandbox."""
    session = requests.Session()
    session.trust_env = False
    response = session.get(address, timeout=60)
    response.raise_for_status()
    return response.json()
