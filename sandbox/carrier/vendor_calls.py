"""Answer the vendor's read calls: device list, device details, usage of one device, usage by rate plan."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.carrier.account import CarrierAccount, RequestRefusedError
from sandbox.carrier.request_parameters import (
    page_of,
    read_cycle_start,
    read_positive_integer,
    read_time,
    refuse_unknown,
)


async def list_devices(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Answer ``GET /devices``."""
    refuse_unknown(request, {"modifiedSince", "modifiedTill", "status", "pageSize", "pageNumber", "accountId"})
    since = read_time(request.query.get("modifiedSince"))
    till = read_time(request.query["modifiedTill"], "modifiedTill") if "modifiedTill" in request.query else None
    iccids = account.modified_between(since, till)
    status = request.query.get("status")
    if status is not None:
        iccids = [iccid for iccid in iccids if account.sims[iccid].status == status]
    page_number, page, is_last = page_of(iccids, request)
    return {
        "pageNumber": page_number,
        "devices": [account.list_entry(iccid) for iccid in page],
        "lastPage": is_last,
    }


async def device_details(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Answer ``GET /devices/{iccid}``."""
    return account.details(request.match_info["iccid"])


async def device_usage(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Answer ``GET /devices/{iccid}/ctdUsages``."""
    return account.ctd_usage(request.match_info["iccid"])


async def rate_plan_usage(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Answer ``GET /usages``."""
    query = request.query
    refuse_unknown(
        request,
        {"ratePlanName", "usageType", "ratePlanVersion", "cycleStartDate", "pageSize", "pageNumber"},
    )
    code, usage_type = query.get("ratePlanName", ""), query.get("usageType", "DATA")
    if not code:
        raise RequestRefusedError(400, "ratePlanName is required")
    if usage_type not in ("DATA", "SMS", "VOICE"):
        raise RequestRefusedError(400, f"usageType is {usage_type!r}, not DATA, SMS or VOICE")
    current_version, is_shared = account.rate_plan(code)
    if is_shared:
        raise RequestRefusedError(400, f"usage of the shared rate plan {code!r} is not available")
    version = read_positive_integer(query.get("ratePlanVersion", str(current_version)), "ratePlanVersion")
    start = query.get("cycleStartDate")
    sims = account.sims_with_usage(code, version, usage_type)
    if start is not None and not account.is_current_cycle(read_cycle_start(start)):
        sims = []
    page_number, page, is_last = page_of(sims, request)
    return {
        "ratePlanName": code,
        "ratePlanVersion": version,
        "zones": account.zones(page, usage_type, (code, version)),
        "pageNumber": page_number,
        "lastPage": is_last,
    }


async def unknown_call(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Refuse a path that the API does not have."""
    raise RequestRefusedError(404, f"{request.method} {request.path} does not exist")
