"""The HTTP server of the sandbox carrier: authentication, limits, scripted faults and the admin endpoints."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from aiohttp import web

from sandbox.carrier.account import CarrierAccount, RequestRefusedError
from sandbox.carrier.dialect import AccountKeys, Answer, Caller, ControlCenterDialect, Dialect
from sandbox.carrier.faults import Fault, FaultScript
from sandbox.carrier.faulty_responses import reset_connection, send_half, send_slowly
from sandbox.carrier.fleet import generate_fleet
from sandbox.carrier.rate_limit import CALLS_PER_WINDOW, FAMILY_LIMITS, WINDOW_SECONDS, CallLimit, CallLimiter
from sandbox.carrier.request_parameters import read_json_object, read_time
from sandbox.carrier.state_file import StateFile
from sandbox.carrier.teal import teal_routes
from sandbox.carrier.thingspace import thingspace_routes
from sandbox.carrier.vendor_calls import device_details, device_usage, list_devices, rate_plan_usage, unknown_call

API = "/rws/api/v1"


class CarrierServer:
    """Serve several accounts. Not thread-safe: only its event loop may use it."""

    def __init__(
        self,
        accounts: Sequence[tuple[CarrierAccount, str]],
        *,
        seed: int = 7,
        latency_ms: float = 20,
        calls_per_second: int = CALLS_PER_WINDOW,
        state_file: StateFile | None = None,
        limits_are_enforced: bool = True,
    ) -> None:
        """Configure the server.

        Args:
            accounts: pairs of account and API key.
            seed: seed of the latency, and of the fleets when `use_until` changes their counters.
            latency_ms: mean response time; single responses vary by ±25 %.
            calls_per_second: limit of each API user of a family without a limit of its own.
            state_file: where to store plan changes; None keeps them in memory.
            limits_are_enforced: False counts violations of the vendor's limits without refusing the calls.
        """
        self.accounts = {account.name: account for account, _ in accounts}
        self.keys = AccountKeys({account.name: key for account, key in accounts})
        self._limit = CallLimit(calls_per_second, WINDOW_SECONDS, is_one_at_a_time=True)
        self._limits_are_enforced = limits_are_enforced
        self._limiters = {name: self._limiter(account) for name, account in self.accounts.items()}
        self._unknown_user_calls = 0
        self._faults = FaultScript()
        self._seed = seed
        self._jitter = random.Random(f"{seed}/latency")
        self._latency_ms = latency_ms
        self._state_file = state_file

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        control_center = ControlCenterDialect(self.keys)
        sims = f"{API}/devices/{{iccid}}"
        application.add_routes(
            [
                web.get(f"{API}/devices", self.api("GET /devices", list_devices, control_center)),
                web.get(sims, self.api("GET /devices/{iccid}", device_details, control_center)),
                web.put(sims, self.api("PUT /devices/{iccid}", self._edit_device, control_center)),
                web.get(f"{sims}/ctdUsages", self.api("GET /devices/{iccid}/ctdUsages", device_usage, control_center)),
                web.get(f"{API}/usages", self.api("GET /usages", rate_plan_usage, control_center)),
                *thingspace_routes(self),
                *teal_routes(self),
                web.get("/sandbox/stats", self._get_stats),
                web.delete("/sandbox/stats", self._delete_stats),
                web.get("/sandbox/truth/{account}", self._get_truth),
                web.get("/sandbox/faults", self._get_faults),
                web.post("/sandbox/faults", self._post_faults),
                web.delete("/sandbox/faults", self._delete_faults),
                web.post("/sandbox/password", self._post_password),
                web.post("/sandbox/devices", self._post_devices),
                web.post("/sandbox/usage", self._post_usage),
                web.post("/sandbox/accounts", self._post_accounts),
                web.route("*", f"{API}/{{rest:.*}}", self.api("unknown", unknown_call, control_center)),
            ]
        )
        return application

    def _limiter(self, account: CarrierAccount) -> CallLimiter:
        limit = FAMILY_LIMITS.get(account.provider.family, self._limit)
        return CallLimiter(limit, is_enforced=self._limits_are_enforced)

    # Every API call passes these steps in order: account, limits, sign-in, scripted faults, response.

    def api(
        self, endpoint: str, answer: Answer, dialect: Dialect
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return the handler of an endpoint.

        Args:
            endpoint: its name in the counters.
            answer: returns the correct response.
            dialect: the API that it belongs to.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            caller = await dialect.identify(request)
            limiter = self._limiters.get(caller.user)
            if limiter is None:
                self._unknown_user_calls += 1
                return caller.refusal or dialect.error(401, "Invalid credentials.")
            refusal = limiter.begin(endpoint, time.monotonic())
            status: int | None = None
            try:
                if refusal is not None:
                    response: web.StreamResponse = dialect.error(429, refusal, headers={"Retry-After": "1"})
                else:
                    response = await self._respond(caller, request, answer, dialect)
                status = response.status
                return response
            finally:
                limiter.end(status)

        return handle

    async def _respond(
        self, caller: Caller, request: web.Request, answer: Answer, dialect: Dialect
    ) -> web.StreamResponse:
        await asyncio.sleep(self._latency_ms / 1000 * self._jitter.uniform(0.75, 1.25))
        if caller.refusal is not None:
            return caller.refusal
        account = self.accounts[caller.user]
        fault = self._faults.choose(
            account=caller.user,
            method=request.method,
            path=request.path,
            page_number=await dialect.page_number(account, request),
        )
        if fault is None:
            return await self._correct_response(account, request, answer, dialect)
        return await self._faulty_response(fault, account, request, answer, dialect)

    async def _correct_response(
        self, account: CarrierAccount, request: web.Request, answer: Answer, dialect: Dialect
    ) -> web.Response:
        try:
            return web.json_response(await answer(account, request))
        except RequestRefusedError as refused:
            return dialect.error(refused.status, refused.message, refused.code)

    async def _faulty_response(
        self, fault: Fault, account: CarrierAccount, request: web.Request, answer: Answer, dialect: Dialect
    ) -> web.StreamResponse:
        if fault.reset:
            reset_connection(request)
            raise web.HTTPServiceUnavailable  # never sent: the connection is closed
        if fault.status is not None:
            retry_after = fault.retry_after()
            headers = {"Retry-After": retry_after} if retry_after else None
            return dialect.error(fault.status, fault.error_message, headers=headers)
        if fault.hang_seconds is not None:
            await asyncio.sleep(fault.hang_seconds)
        if fault.repeat_page:
            return web.json_response(await dialect.repeated_page(account, request, answer))
        if fault.endless_pages:
            return web.json_response(await dialect.endless_page(account, request, answer))
        if fault.forget_write and request.method == "PUT":
            return web.json_response({"iccid": request.match_info["iccid"]})
        response = await self._correct_response(account, request, answer, dialect)
        account.touch(fault.touch)
        if fault.drip_seconds is not None:
            return await send_slowly(request, cast(bytes, response.body), fault.drip_seconds)
        if fault.empty_page:
            return web.json_response(await dialect.empty_page(request))
        if fault.truncate:
            return await send_half(request, cast(bytes, response.body))
        return response

    async def _edit_device(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        iccid = request.match_info["iccid"]
        body = await read_json_object(request)
        if set(body) != {"ratePlan"}:
            raise RequestRefusedError(400, "the sandbox can only change ratePlan")
        account.change_rate_plan(iccid, body["ratePlan"])
        if self._state_file is not None:
            self._state_file.store(account, iccid)
        return {"iccid": iccid}

    # Admin endpoints

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
            return error_response(404, f"no account {name!r}; accounts are {', '.join(self.accounts)}")
        return web.json_response(self.accounts[name].truth())

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._faults.documents())

    async def _post_faults(self, request: web.Request) -> web.Response:
        try:
            document = await read_json_object(request)
            unknown = document.get("account") not in (None, *self.accounts)
            if unknown:
                raise RequestRefusedError(400, f"no account {document['account']!r}")
            self._faults.add(document)
        except (RequestRefusedError, ValueError, TypeError) as error:
            return error_response(400, str(error))
        return web.json_response({}, status=201)

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({})

    async def _post_password(self, request: web.Request) -> web.Response:
        document = await read_json_object(request)
        name = document.get("account")
        if name not in self.accounts:
            return error_response(404, f"no account {name!r}; accounts are {', '.join(self.accounts)}")
        if document.get("is_wrong", True):
            self.keys.refused.add(name)
        else:
            self.keys.refused.discard(name)
        return web.json_response({})

    async def _post_devices(self, request: web.Request) -> web.Response:
        """Change or remove SIMs: ``{"account", "iccids", "set": {…} | "remove": true}``."""
        document = await read_json_object(request)
        try:
            account = self.accounts[document["account"]]
            for iccid in document["iccids"]:
                if document.get("remove"):
                    account.remove(iccid)
                else:
                    account.change(iccid, document.get("set", {}))
        except RequestRefusedError as refused:
            return error_response(refused.status, refused.message)
        except KeyError as missing:
            return error_response(400, f"unknown account or missing key: {missing}")
        return web.json_response({})

    async def _post_usage(self, request: web.Request) -> web.Response:
        """Set the usage counters of an account to a time of its billing period: ``{"account", "until"}``."""
        document = await read_json_object(request)
        try:
            account = self.accounts[document["account"]]
            account.use_until(read_time(document.get("until"), "until"), seed=self._seed)
        except RequestRefusedError as refused:
            return error_response(refused.status, refused.message)
        except KeyError as missing:
            return error_response(400, f"unknown account or missing key: {missing}")
        return web.json_response({})

    async def _post_accounts(self, request: web.Request) -> web.Response:
        """Add accounts that are copies of one: ``{"users": […], "like": …, "device_count": n}``, with the same key."""
        document = await read_json_object(request)
        try:
            like = self.accounts[document["like"]]
            for user in document["users"]:
                self._add_account(user, like, int(document["device_count"]))
        except KeyError as missing:
            return error_response(400, f"unknown account or missing key: {missing}")
        return web.json_response({}, status=201)

    def _add_account(self, user: str, like: CarrierAccount, device_count: int) -> None:
        """Add an account with a fleet of its own: the same SIMs in each account that was added like the same one."""
        fleet = generate_fleet(
            integration=like.provider.integration,
            account=user,
            seeded_as=like.name,
            device_count=device_count,
            seed=self._seed,
            as_of=like.fleet.as_of,
        )
        self.accounts[user] = CarrierAccount(
            fleet, list_limit=like.list_limit, usage_attribution=like.usage_attribution
        )
        self.keys.copy(like.name, user)
        self._limiters[user] = self._limiter(like)


def error_response(status: int, message: str) -> web.Response:
    """Return an error of an admin endpoint."""
    return web.json_response({"errorMessage": message}, status=status)
