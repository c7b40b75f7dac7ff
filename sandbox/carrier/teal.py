"""The sandbox of Teal: operations that are queued and whose results are fetched, eSIMs by EID, daily usage.

Vendor reference: integrationapi.teal.global/swagger-ui.html and the descriptions that docs/carriers.md names. The API
key of an account is its name, the API secret its key. An operation of the device list answers 102 once before its
result is there, the others never. Admin endpoint, beside those of `sandbox.carrier`: ``POST /sandbox/operations``
``{"account": …, "polls": n}`` has every further operation of the account answer 102 that often.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.carrier.account import CarrierAccount, RequestRefusedError
from sandbox.carrier.daily_usage import days_of_cycle, shares
from sandbox.carrier.dialect import AccountKeys, Answer, Caller
from sandbox.carrier.fleet import Sim
from sandbox.carrier.request_parameters import read_json_object

if TYPE_CHECKING:
    from sandbox.carrier.server import CarrierServer

API = "/api/v1"
LIST, INFO, USAGE, RESULT = (
    f"{API}/esims",
    f"{API}/esims/info",
    f"{API}/data-consumption/data",
    f"{API}/operation-result",
)
LARGEST_PAGE = 100
POLLS = {LIST: 1}
PROCESSING = 102
UNAUTHORIZED, NOT_FOUND, INVALID, FAILED = "UNAUTHORIZED", "ESIM_NOT_FOUND", "VALIDATION_ERROR", "GENERIC_ERROR"
REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,36}")
PERIOD = "%Y-%m-%d %H:%M:%S"
STATES = {"ACTIVATED": "ONLINE", "ACTIVATION_READY": "WAITING", "SUSPENDED": "STOPPED", "DEACTIVATED": "DEACTIVATED"}


@dataclass
class Operation:
    """A queued operation."""

    path: str
    query: Mapping[str, str]
    polls_left: int
    """Polls that are answered with 102."""

    @property
    def page_number(self) -> int | None:
        """The page of the device list that it asks for; None for any other operation."""
        if self.path != LIST or _limit(self.query) != LARGEST_PAGE:
            return None
        return _offset(self.query) // LARGEST_PAGE + 1


@dataclass
class Operations:
    """The operations of all accounts."""

    by_request: dict[tuple[str, str], Operation] = field(default_factory=dict)
    """Account and request id → operation."""
    polls: dict[str, int] = field(default_factory=dict)
    """Account → polls of every operation that are answered with 102."""

    def queue(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        """Queue an operation and return the answer.

        Raises:
            RequestRefusedError: a parameter is missing or invalid, or the request id was used before.
        """
        _validate(request.path, request.query)
        request_id = request.query["requestId"]
        if (account.name, request_id) in self.by_request:
            raise RequestRefusedError(400, "requestId must be unique", INVALID)
        polls = self.polls.get(account.name, POLLS.get(request.path, 0))
        self.by_request[account.name, request_id] = Operation(request.path, dict(request.query), polls)
        # A link with the scheme that the vendor's answers have.
        href = f"http://{request.host}{RESULT}?requestId={request_id}"
        return {"success": True, "requestId": request_id, "_links": {"operationResult": {"href": href}}}

    def of(self, user: str, request: web.Request) -> Operation | None:
        """Return the operation whose result a request asks for, None for an unknown one."""
        return self.by_request.get((user, request.query.get("requestId", "")))

    def result(self, account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        """Return the result of an operation.

        Raises:
            RequestRefusedError: 102 while it is processed; 404 for an unknown one; its own failure with status 200.
        """
        operation = self.of(account.name, request)
        if operation is None:
            raise RequestRefusedError(404, "the operation was not found", INVALID)
        if operation.polls_left:
            operation.polls_left -= 1
            raise RequestRefusedError(PROCESSING, "")
        entries = ENTRIES[operation.path](account, operation.query)
        return {"success": True, "requestId": request.query["requestId"], "entries": entries}


class TealDialect:
    """Keys, error bodies and pages of Teal; see `sandbox.carrier.dialect.Dialect`."""

    def __init__(self, operations: Operations, keys: AccountKeys) -> None:
        self._operations = operations
        self._keys = keys

    async def identify(self, request: web.Request) -> Caller:
        """See `Dialect`: API key and API secret are headers."""
        user, secret = request.headers.get("ApiKey", ""), request.headers.get("ApiSecret", "")
        refusal = None if self._keys.is_valid(user, secret) else self.error(401, "API key or secret is wrong")
        return Caller(user, refusal)

    def error(
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        """See `Dialect`: an answer without success, or 102 without a body."""
        if status == PROCESSING:
            return web.Response(status=PROCESSING)
        default = INVALID if 400 <= status < 500 else FAILED
        code = code or {401: UNAUTHORIZED, 429: None}.get(status, default)
        document = {"success": False, "errorCode": code, "errorMessage": message}
        return web.json_response(document, status=status, headers=headers)

    async def page_number(self, account: CarrierAccount, request: web.Request) -> int | None:
        """See `Dialect`: the page whose result is asked for."""
        operation = self._operations.of(account.name, request) if request.path == RESULT else None
        return operation.page_number if operation and not operation.polls_left else None

    async def repeated_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """See `Dialect`."""
        query = self._query(account, request)
        return self._page(account, request, max(0, _offset(query) - LARGEST_PAGE))

    async def endless_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """See `Dialect`: a page that is never short."""
        query = self._query(account, request)
        return self._page(account, request, min(_offset(query), max(0, len(account.sims) - LARGEST_PAGE)))

    async def empty_page(self, request: web.Request) -> dict[str, Any]:
        """See `Dialect`."""
        return {"success": True, "requestId": request.query.get("requestId"), "entries": []}

    def _query(self, account: CarrierAccount, request: web.Request) -> Mapping[str, str]:
        operation = self._operations.of(account.name, request)
        return operation.query if operation else {}

    def _page(self, account: CarrierAccount, request: web.Request, offset: int) -> dict[str, Any]:
        entries = _list(account, {"offset": str(offset), "limit": str(LARGEST_PAGE)})
        return {"success": True, "requestId": request.query.get("requestId"), "entries": entries}


def teal_routes(server: CarrierServer) -> list[web.RouteDef]:
    """Return the routes of Teal's API for the accounts of a server."""
    operations = Operations()
    dialect = TealDialect(operations, server.keys)

    async def queue(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        return operations.queue(account, request)

    async def result(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        return operations.result(account, request)

    async def set_polls(request: web.Request) -> web.Response:
        body = await read_json_object(request)
        operations.polls[body["account"]] = int(body["polls"])
        return web.json_response({})

    pages = server.api("GET /esims", queue, dialect)
    end = server.api("GET /esims (end of the list)", queue, dialect)

    async def list_esims(request: web.Request) -> web.StreamResponse:
        handle: Callable[[web.Request], Awaitable[web.StreamResponse]] = end if is_question_of_end(request) else pages
        return await handle(request)

    return [
        web.get(LIST, list_esims),
        web.get(INFO, server.api("GET /esims/info", queue, dialect)),
        web.get(USAGE, server.api("GET /data-consumption/data", queue, dialect)),
        web.get(RESULT, server.api("GET /operation-result", result, dialect)),
        web.post("/sandbox/operations", set_polls),
    ]


def is_question_of_end(request: web.Request) -> bool:
    """Return True for a list of one eSIM: a client asks so whether its list has ended."""
    return request.query.get("limit") == "1"


def _validate(path: str, query: Mapping[str, str]) -> None:
    """Refuse an operation with a missing or invalid parameter."""
    faults = []
    if not REQUEST_ID.fullmatch(query.get("requestId", "")):
        faults.append("requestId must be a UUID")
    if not query.get("callbackUrl", "").startswith(("http://", "https://")):
        faults.append("callbackUrl must be a URL")
    if not 1 <= _limit(query) <= LARGEST_PAGE:
        faults.append(f"limit must be between 1 and {LARGEST_PAGE}")
    if _offset(query) < 0:
        faults.append("offset must not be negative")
    if path == USAGE:
        if query.get("dataType") != "DAILY":
            faults.append("dataType must be DAILY")
        if _moment(query.get("periodStart")) is None or _moment(query.get("periodEnd")) is None:
            faults.append("periodStart and periodEnd must be like 2026-11-01 00:00:00")
    if faults:
        raise RequestRefusedError(400, "; ".join(faults), INVALID)


def _limit(query: Mapping[str, str]) -> int:
    return _integer(query.get("limit", str(LARGEST_PAGE)))


def _offset(query: Mapping[str, str]) -> int:
    return _integer(query.get("offset", "0"))


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", PERIOD).replace(tzinfo=UTC)
    except ValueError:
        return None


def _list(account: CarrierAccount, query: Mapping[str, str]) -> list[dict[str, Any]]:
    eids = sorted(account.sims)[_offset(query) :][: _limit(query)]
    return [_esim(account.sims[eid]) for eid in eids]


def _info(account: CarrierAccount, query: Mapping[str, str]) -> list[dict[str, Any]]:
    eid = query.get("eid")
    if eid is None:
        return _list(account, query)
    if eid not in account.sims:
        raise RequestRefusedError(200, "the eSIM was not found", NOT_FOUND)
    return [_esim(account.sims[eid])]


def _usage(account: CarrierAccount, query: Mapping[str, str]) -> list[dict[str, Any]]:
    begin, end = _moment(query.get("periodStart")), _moment(query.get("periodEnd"))
    eid, days = query.get("eid"), days_of_cycle(account)
    found = [
        {
            "id": None,
            "eid": sim.iccid,
            "operationalImsi": sim.imsi,
            "type": "DAILY",
            "period": f"{day:%Y-%m-%d}",
            "usage": used,
            "mccMnc": None,
            "pmn": None,
        }
        for sim in ([account.sims[eid]] if eid in account.sims else [] if eid else account.sims.values())
        for day, used in zip(days, shares(sim.data_usage, len(days)), strict=True)
        if begin and end and begin.date() <= day <= end.date()
    ]
    if found and eid:
        found[0] |= account.sims[eid].extra.get("usage", {})
    return found[_offset(query) :][: _limit(query)]


ENTRIES: dict[str, Callable[[CarrierAccount, Mapping[str, str]], list[dict[str, Any]]]] = {
    LIST: _list,
    INFO: _info,
    USAGE: _usage,
}
"""Path of an operation → the entries of its result."""


def _esim(sim: Sim) -> dict[str, Any]:
    return {
        "id": int(sim.iccid[-12:]),
        "eid": sim.iccid,
        "iccid": f"890199{sim.iccid[-14:]}",
        "imsi": sim.imsi,
        "msisdn": sim.msisdn,
        "imei": sim.imei,
        "deviceName": sim.customer,
        "deviceGroupName": None,
        "deviceStatus": STATES.get(sim.status, sim.status),
        "active": sim.status == "ACTIVATED",
        "suspended": sim.status == "SUSPENDED",
        "planName": sim.rate_plan,
        "planUuid": None,
        "planVolumeUnit": "MB",
        "planChangeStatus": "SUCCESS",
    } | {key: value for key, value in sim.extra.items() if key != "usage"}
