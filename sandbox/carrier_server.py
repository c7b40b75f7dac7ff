"""HTTP side of the sandbox carrier: the vendor's calls, limits and errors, and the sandbox's own pages."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any, TypeVar, cast

from aiohttp import web

from sandbox.carrier_account import CarrierAccount, RequestRefusedError, StateFile
from sandbox.faults import Fault, FaultScript
from sandbox.faulty_answers import Answer, endless_page, repeated_page, reset_connection, send_half, send_slowly
from sandbox.rate_limit import CallLimiter

API = "/rws/api/v1"
LARGEST_PAGE = 50
CYCLE_START = re.compile(r"(\d{4}-\d{2}-\d{2})Z?")
"""The contract says ``yyyy-MM-ddZ``, the vendor's page of this call ``yyyy-MM-dd``: both are taken."""

Entry = TypeVar("Entry")


class CarrierServer:
    """The HTTP side of the sandbox carrier; one event loop owns it."""

    def __init__(
        self,
        accounts: Sequence[tuple[CarrierAccount, str]],
        *,
        seed: int = 7,
        latency_ms: float = 20,
        state_file: StateFile | None = None,
        limits_are_enforced: bool = True,
    ) -> None:
        """Serve (account, API key) pairs; ``latency_ms`` is an answer's mean time, give or take a quarter."""
        self.accounts = {account.name: account for account, _ in accounts}
        self._keys = {account.name: key for account, key in accounts}
        self._limiters = {name: CallLimiter(is_enforced=limits_are_enforced) for name in self.accounts}
        self._wrong_passwords: set[str] = set()
        self._unknown_user_calls = 0
        self._faults = FaultScript()
        self._seed = seed
        self._jitter = random.Random(f"{seed}/latency")
        self._latency_ms = latency_ms
        self._state_file = state_file

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.add_routes(
            [
                web.get(f"{API}/devices", self._api("GET /devices", self._list_devices)),
                web.get(f"{API}/devices/{{iccid}}", self._api("GET /devices/{iccid}", self._device_details)),
                web.put(f"{API}/devices/{{iccid}}", self._api("PUT /devices/{iccid}", self._edit_device)),
                web.get(
                    f"{API}/devices/{{iccid}}/ctdUsages",
                    self._api("GET /devices/{iccid}/ctdUsages", self._device_usage),
                ),
                web.get(f"{API}/usages", self._api("GET /usages", self._rate_plan_usage)),
                web.get("/sandbox/stats", self._get_stats),
                web.delete("/sandbox/stats", self._delete_stats),
                web.get("/sandbox/truth/{account}", self._get_truth),
                web.get("/sandbox/faults", self._get_faults),
                web.post("/sandbox/faults", self._post_faults),
                web.delete("/sandbox/faults", self._delete_faults),
                web.post("/sandbox/password", self._post_password),
                web.post("/sandbox/devices", self._post_devices),
                web.post("/sandbox/usage", self._post_usage),
                web.route("*", f"{API}/{{rest:.*}}", self._api("unknown", _no_such_resource)),
            ]
        )
        return application

    # Every API call goes through here: account, limits, key, faults, answer.

    def _api(self, endpoint: str, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            user, password = _basic_credentials(request)
            limiter = self._limiters.get(user)
            if limiter is None:
                self._unknown_user_calls += 1
                return _error(401, "Invalid credentials.", "10000001")
            refusal = limiter.begin(endpoint, time.monotonic())
            status: int | None = None
            try:
                if refusal is not None:
                    response: web.StreamResponse = _error(429, refusal, headers={"Retry-After": "1"})
                else:
                    response = await self._answer(user, password, request, answer)
                status = response.status
                return response
            finally:
                limiter.end(status)

        return handle

    async def _answer(self, user: str, password: str, request: web.Request, answer: Answer) -> web.StreamResponse:
        await asyncio.sleep(self._latency_ms / 1000 * self._jitter.uniform(0.75, 1.25))
        is_right = hmac.compare_digest(password.encode(), self._keys[user].encode())
        if not is_right or user in self._wrong_passwords:
            return _error(401, "Invalid credentials.", "10000001")
        page = request.query.get("pageNumber", "1" if "iccid" not in request.match_info else "")
        fault = self._faults.choose(
            account=user,
            method=request.method,
            path=request.path,
            page_number=int(page) if page.isdigit() else None,
        )
        account = self.accounts[user]
        if fault is None:
            return await self._true_answer(account, request, answer)
        return await self._faulty_answer(fault, account, request, answer)

    async def _true_answer(self, account: CarrierAccount, request: web.Request, answer: Answer) -> web.Response:
        try:
            return web.json_response(await answer(account, request))
        except RequestRefusedError as refused:
            return _error(refused.status, refused.message, refused.code)

    async def _faulty_answer(
        self, fault: Fault, account: CarrierAccount, request: web.Request, answer: Answer
    ) -> web.StreamResponse:
        if fault.reset:
            reset_connection(request)
            raise web.HTTPServiceUnavailable  # nobody hears it: the connection is gone
        if fault.status is not None:
            retry_after = fault.retry_after()
            headers = {"Retry-After": retry_after} if retry_after else None
            return _error(fault.status, fault.error_message, headers=headers)
        if fault.hang_seconds is not None:
            await asyncio.sleep(fault.hang_seconds)
        if fault.repeat_page:
            return web.json_response(await repeated_page(account, request, answer))
        if fault.endless_pages:
            return web.json_response(await endless_page(account, request, answer))
        if fault.forget_write and request.method == "PUT":
            return web.json_response({"iccid": request.match_info["iccid"]})
        response = await self._true_answer(account, request, answer)
        account.touch(fault.touch)
        if fault.drip_seconds is not None:
            return await send_slowly(request, cast(bytes, response.body), fault.drip_seconds)
        if fault.empty_page:
            return web.json_response(
                {
                    "pageNumber": int(request.query.get("pageNumber", "1")),
                    "devices": [],
                    "zones": [],
                    "lastPage": False,
                }
            )
        if fault.truncate:
            return await send_half(request, cast(bytes, response.body))
        return response

    # The vendor's calls

    async def _list_devices(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        _refuse_unknown(request, {"modifiedSince", "status", "pageSize", "pageNumber", "accountId"})
        moment = _moment(request.query.get("modifiedSince"))
        iccids = account.modified_since(moment)
        status = request.query.get("status")
        if status is not None:
            iccids = [iccid for iccid in iccids if account.sims[iccid].status == status]
        page_number, page, is_last = _page_of(iccids, request)
        return {
            "pageNumber": page_number,
            "devices": [account.list_entry(iccid) for iccid in page],
            "lastPage": is_last,
        }

    async def _device_details(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        return account.details(request.match_info["iccid"])

    async def _device_usage(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        return account.ctd_usage(request.match_info["iccid"])

    async def _edit_device(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        iccid = request.match_info["iccid"]
        body = await _json_object(request)
        if set(body) != {"ratePlan"}:
            raise RequestRefusedError(400, "the sandbox edits ratePlan and nothing else")
        account.change_rate_plan(iccid, body["ratePlan"])
        if self._state_file is not None:
            self._state_file.keep(account, iccid)
        return {"iccid": iccid}

    async def _rate_plan_usage(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        query = request.query
        _refuse_unknown(
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
        version = _whole_number(query.get("ratePlanVersion", str(current_version)), "ratePlanVersion")
        start = query.get("cycleStartDate")
        sims = account.sims_with_usage(code, version, usage_type)
        if start is not None and not account.is_present_cycle(_cycle_start(start)):
            sims = []
        page_number, page, is_last = _page_of(sims, request)
        return {
            "ratePlanName": code,
            "ratePlanVersion": version,
            "zones": account.zones(page, usage_type),
            "pageNumber": page_number,
            "lastPage": is_last,
        }

    # The pages of the sandbox itself

    async def _get_stats(self, request: web.Request) -> web.Response:
        accounts = {name: limiter.stats() for name, limiter in self._limiters.items()}
        return web.json_response(
            {
                "accounts": accounts,
                "calls": sum(stats["calls"] for stats in accounts.values()),
                "violations": sum(stats["violations"] for stats in accounts.values()),
                "unknown_user_calls": self._unknown_user_calls,
            }
        )

    async def _delete_stats(self, request: web.Request) -> web.Response:
        for limiter in self._limiters.values():
            limiter.reset()
        self._unknown_user_calls = 0
        return web.json_response({})

    async def _get_truth(self, request: web.Request) -> web.Response:
        name = request.match_info["account"]
        if name not in self.accounts:
            return _error(404, f"no account {name!r}; there are {', '.join(self.accounts)}")
        return web.json_response(self.accounts[name].truth())

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._faults.documents())

    async def _post_faults(self, request: web.Request) -> web.Response:
        try:
            document = await _json_object(request)
            unknown = document.get("account") not in (None, *self.accounts)
            if unknown:
                raise RequestRefusedError(400, f"no account {document['account']!r}")
            self._faults.add(document)
        except (RequestRefusedError, ValueError, TypeError) as error:
            return _error(400, str(error))
        return web.json_response({}, status=201)

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({})

    async def _post_password(self, request: web.Request) -> web.Response:
        document = await _json_object(request)
        name = document.get("account")
        if name not in self.accounts:
            return _error(404, f"no account {name!r}; there are {', '.join(self.accounts)}")
        if document.get("is_wrong", True):
            self._wrong_passwords.add(name)
        else:
            self._wrong_passwords.discard(name)
        return web.json_response({})

    async def _post_devices(self, request: web.Request) -> web.Response:
        """Change what the carrier has: ``{"account", "iccids", "set": {…} | "remove": true}``."""
        document = await _json_object(request)
        try:
            account = self.accounts[document["account"]]
            for iccid in document["iccids"]:
                if document.get("remove"):
                    account.remove(iccid)
                else:
                    account.change(iccid, document.get("set", {}))
        except RequestRefusedError as refused:
            return _error(refused.status, refused.message)
        except KeyError as missing:
            return _error(400, f"no {missing}")
        return web.json_response({})

    async def _post_usage(self, request: web.Request) -> web.Response:
        """Let the SIMs of an account use until a moment of its billing period: ``{"account", "until"}``."""
        document = await _json_object(request)
        try:
            account = self.accounts[document["account"]]
            account.use_until(_moment(document.get("until"), "until"), seed=self._seed)
        except RequestRefusedError as refused:
            return _error(refused.status, refused.message)
        except KeyError as missing:
            return _error(400, f"no {missing}")
        return web.json_response({})


async def _no_such_resource(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    raise RequestRefusedError(404, f"{request.method} {request.path} does not exist")


def _error(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> web.Response:
    document = {"errorMessage": message} | ({"errorCode": code} if code else {})
    return web.json_response(document, status=status, headers=headers)


def _basic_credentials(request: web.Request) -> tuple[str, str]:
    """Return user and password of HTTP Basic; empty texts when the header is missing or malformed."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _refuse_unknown(request: web.Request, known: set[str]) -> None:
    unknown = sorted(set(request.query) - known)
    if unknown:
        raise RequestRefusedError(400, f"unknown parameters: {', '.join(unknown)}")


def _moment(text: str | None, name: str = "modifiedSince") -> datetime:
    if text is None:
        raise RequestRefusedError(400, f"{name} is required")
    # An unescaped + of an offset arrives as a space.
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    raise RequestRefusedError(400, f"{name} is {text!r}, not like 2026-10-20T00:00:00Z")


def _cycle_start(text: str) -> date:
    found = CYCLE_START.fullmatch(text)
    if found:
        with suppress(ValueError):
            return date.fromisoformat(found.group(1))
    raise RequestRefusedError(400, f"cycleStartDate is {text!r}, not like 2026-10-19Z")


def _whole_number(text: str, name: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise RequestRefusedError(400, f"{name} is {text!r}, not a whole number from 1 on")
    return int(text)


def _page_of(entries: Sequence[Entry], request: web.Request) -> tuple[int, Sequence[Entry], bool]:
    """Return page number, its entries and whether it is the last one."""
    number = _whole_number(request.query.get("pageNumber", "1"), "pageNumber")
    size = _whole_number(request.query.get("pageSize", str(LARGEST_PAGE)), "pageSize")
    if size > LARGEST_PAGE:
        raise RequestRefusedError(400, f"pageSize is {size}, more than {LARGEST_PAGE}")
    return number, entries[(number - 1) * size : number * size], number * size >= len(entries)


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        document = await request.json()
    except ValueError:
        raise RequestRefusedError(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise RequestRefusedError(400, "the body is not a JSON object")
    return document
