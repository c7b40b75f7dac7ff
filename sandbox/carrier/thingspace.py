"""The sandbox of Verizon ThingSpace: tokens that end, devices in pages by last device id, daily usage.

Vendor reference: thingspace.verizon.com/documentation/apis/connectivity-management. An account of the sandbox has its
own application (``app_<user>``, with the API key as secret) and its own account name. Admin endpoint, beside those of
`sandbox.carrier`: ``POST /sandbox/tokens`` ``{"account": …, "end": ["access", "session"]}`` ends its tokens.
"""

from __future__ import annotations

import bisect
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.carrier.account import CarrierAccount, RequestRefusedError
from sandbox.carrier.daily_usage import days_of_cycle, shares
from sandbox.carrier.dialect import AccountKeys, Answer, Caller, basic_credentials
from sandbox.carrier.fleet import Sim
from sandbox.carrier.request_parameters import read_json_object, read_time
from sandbox.carrier.sign_in import account_name_of, application_of

if TYPE_CHECKING:
    from sandbox.carrier.server import CarrierServer

API = "/api/m2m/v1"
PAGE_SIZE = 50
ACCESS_SECONDS = 3600
SESSION_IDLE_SECONDS = 1200
FAILED_LOGINS_TO_LOCK = 5
INVALID_CREDENTIALS = "900901"
STATES = {
    "ACTIVATED": "active",
    "DEACTIVATED": "deactive",
    "SUSPENDED": "suspend",
    "ACTIVATION_READY": "pre-active",
}
SERVICE = "UnifiedWebService"


def device_id_of(iccid: str) -> int:
    """Return the number that the list is ordered by: the serial digits of the SIM."""
    return int(iccid[7:-1])


@dataclass
class Tokens:
    """The valid tokens of all accounts.

    Args:
        keys: the accounts' keys.
        monotonic: monotonic clock in seconds.
    """

    keys: AccountKeys
    monotonic: Callable[[], float] = time.monotonic
    access: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Access token → account and the moment of its end."""
    sessions: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Session token → account and the moment of its last use."""
    ended: dict[str, str] = field(default_factory=dict)
    """Ended access token → account."""
    failed_logins: Counter[str] = field(default_factory=Counter)

    def give_access(self, user: str) -> tuple[str, int]:
        """Return the account's access token and the seconds until its end; a new one only if there is none."""
        now = self.monotonic()
        for token, (owner, ends) in self.access.items():
            if owner == user and ends > now:
                return token, int(ends - now)
        token = secrets.token_hex(16)
        self.access[token] = (user, now + ACCESS_SECONDS)
        return token, ACCESS_SECONDS

    def account_of(self, token: str) -> tuple[str, bool]:
        """Return the account of an access token, and whether the token is valid."""
        user, ends = self.access.get(token, (self.ended.get(token, ""), 0.0))
        return user, ends > self.monotonic()

    def start_session(self, user: str) -> str:
        """Return a new session token."""
        token = secrets.token_hex(16)
        self.sessions[token] = (user, self.monotonic())
        return token

    def is_session(self, token: str, user: str) -> bool:
        """Return whether a session token of the account is valid, and count this as its use."""
        owner, used = self.sessions.get(token, ("", 0.0))
        now = self.monotonic()
        if owner != user or now - used > SESSION_IDLE_SECONDS:
            return False
        self.sessions[token] = (user, now)
        return True

    def end(self, user: str, kinds: list[str]) -> None:
        """End tokens of an account: ``access``, ``session``."""
        if "access" in kinds:
            for token in [token for token, (owner, _) in self.access.items() if owner == user]:
                self.ended[token] = self.access.pop(token)[0]
        if "session" in kinds:
            self.sessions = {token: owned for token, owned in self.sessions.items() if owned[0] != user}


class ThingSpaceDialect:
    """Sign-in with two tokens, error bodies and pages of ThingSpace; see `sandbox.carrier.dialect.Dialect`."""

    def __init__(self, tokens: Tokens, users: Collection[str]) -> None:
        self._tokens = tokens
        self._users = users

    async def identify(self, request: web.Request) -> Caller:
        """Return the account by the access token; refuse a token that has ended."""
        if request.path.endswith("/oauth2/token"):
            client, secret = basic_credentials(request)
            user = next((user for user in self._users if application_of(user) == client), "")
            return Caller(user, None if self._tokens.keys.is_valid(user, secret) else _oauth_refusal())
        user, is_valid = self._tokens.account_of(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if not is_valid:
            return Caller(user, _fault(401, INVALID_CREDENTIALS, "Invalid Credentials"))
        if request.path.endswith("/session/login"):
            return Caller(user)
        if not self._tokens.is_session(request.headers.get("VZ-M2M-Token", ""), user):
            code = f"{SERVICE}.REQUEST_FAILED.SessionToken.Expired"
            return Caller(user, self.error(400, "The session token is expired.", code))
        return Caller(user)

    def error(
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        """Return an error of the service, or of its gateway where it has no code."""
        if code is None:
            return _fault(status, "900800" if status == 429 else str(status), message, headers)
        return web.json_response({"errorCode": code, "errorMessage": message}, status=status, headers=headers)

    async def page_number(self, account: CarrierAccount, request: web.Request) -> int | None:
        """Return the page of the list that follows the device id of the request."""
        if not request.path.endswith("/devices/actions/list"):
            return None
        body = await request.json()
        if "deviceId" in body:
            return None
        return _first_index(account, body) // PAGE_SIZE + 1

    async def repeated_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """Return the devices of the page before, as the requested page."""
        first = _first_index(account, await request.json())
        return _page(account, max(0, first - PAGE_SIZE))

    async def endless_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """Return the requested page, or the last one, and announce more data."""
        first = _first_index(account, await request.json())
        last = max(0, (len(account.sims) - 1) // PAGE_SIZE * PAGE_SIZE)
        return _page(account, min(first, last)) | {"hasMoreData": True}

    async def empty_page(self, request: web.Request) -> dict[str, Any]:
        """Announce more data, and return none."""
        return {"hasMoreData": True, "devices": []}


def thingspace_routes(server: CarrierServer, tokens: Tokens | None = None) -> list[web.RouteDef]:
    """Return the routes of ThingSpace's API for the accounts of a server."""
    tokens = tokens or Tokens(server.keys)
    dialect = ThingSpaceDialect(tokens, server.accounts)

    async def give_token(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            raise RequestRefusedError(400, "unsupported grant type", "unsupported_grant_type")
        token, seconds = tokens.give_access(account.name)
        return {"access_token": token, "scope": "ts.application.ro", "token_type": "Bearer", "expires_in": seconds}

    async def log_in(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
        body = await read_json_object(request)
        if tokens.failed_logins[account.name] >= FAILED_LOGINS_TO_LOCK:
            raise RequestRefusedError(400, "The contact is locked.", f"{SERVICE}.REQUEST_FAILED.ContactLocked")
        if body.get("username") != account.name or not tokens.keys.is_valid(account.name, str(body.get("password"))):
            tokens.failed_logins[account.name] += 1
            raise RequestRefusedError(
                400, "The username or password is invalid.", f"{SERVICE}.REQUEST_FAILED.InvalidCredentials"
            )
        tokens.failed_logins[account.name] = 0
        return {"sessionToken": tokens.start_session(account.name)}

    async def end_tokens(request: web.Request) -> web.Response:
        body = await read_json_object(request)
        tokens.end(body["account"], body["end"])
        return web.json_response({})

    usage = f"{API}/devices/usage/actions/list"
    return [
        web.post("/api/ts/v1/oauth2/token", server.api("POST /oauth2/token", give_token, dialect)),
        web.post(f"{API}/session/login", server.api("POST /session/login", log_in, dialect)),
        web.post(f"{API}/devices/actions/list", server.api("POST /devices/actions/list", list_devices, dialect)),
        web.post(usage, server.api("POST /devices/usage/actions/list", list_usage, dialect)),
        web.post("/sandbox/tokens", end_tokens),
    ]


async def list_devices(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Answer the device list: one page of all devices, or one device."""
    body = await read_json_object(request)
    if body.get("accountName") != account_name_of(account.provider):
        raise RequestRefusedError(400, "The account was not found.", f"{SERVICE}.REQUEST_FAILED.AccountNotFound")
    if "deviceId" in body:
        return {"hasMoreData": False, "devices": [_device(_sim_of(account, body["deviceId"]))]}
    return _page(account, _first_index(account, body))


async def list_usage(account: CarrierAccount, request: web.Request) -> dict[str, Any]:
    """Answer the daily usage of one device."""
    body = await read_json_object(request)
    sim = _sim_of(account, body.get("deviceId"))
    earliest, latest = read_time(body.get("earliest"), "earliest"), read_time(body.get("latest"), "latest")
    days = [day for day in _days(account, sim) if earliest <= datetime.fromisoformat(day["timestamp"]) <= latest]
    return {"hasMoreData": False, "deviceId": body["deviceId"], "usageHistory": sim.extra.get("usageHistory", days)}


def _sim_of(account: CarrierAccount, device_id: Any) -> Sim:
    given = device_id if isinstance(device_id, dict) else {}
    iccid = given.get("id") if given.get("kind", "").lower() == "iccid" else None
    if iccid not in account.sims:
        raise RequestRefusedError(400, "The device was not found.", f"{SERVICE}.REQUEST_FAILED.DeviceNotFound")
    return account.sims[iccid]


def _first_index(account: CarrierAccount, body: dict[str, Any]) -> int:
    """Return the place of the first device after ``largestDeviceIdSeen``."""
    return bisect.bisect_right(sorted(map(device_id_of, account.sims)), int(body.get("largestDeviceIdSeen") or 0))


def _page(account: CarrierAccount, first: int) -> dict[str, Any]:
    iccids = sorted(account.sims, key=device_id_of)
    page = iccids[first : first + PAGE_SIZE]
    return {
        "hasMoreData": first + PAGE_SIZE < len(iccids),
        "devices": [_device(account.sims[iccid]) for iccid in page],
    }


def _device(sim: Sim) -> dict[str, Any]:
    names = {"mdn": sim.msisdn, "imsi": sim.imsi, "imei": sim.imei, "iccId": sim.iccid}
    activated = sim.date_activated.astimezone(UTC).isoformat() if sim.date_activated else None
    state = STATES.get(sim.status, sim.status)
    carrier = {"carrierName": "Verizon Wireless", "servicePlan": sim.rate_plan, "state": state}
    return {
        "accountName": None,
        "carrierInformations": [carrier],
        "connected": sim.status == "ACTIVATED",
        "createdAt": sim.date_added.astimezone(UTC).isoformat(),
        "deviceIds": [{"id": value, "kind": kind} for kind, value in names.items() if value is not None],
        "extendedAttributes": [{"key": "DeviceId", "value": str(device_id_of(sim.iccid))}],
        "groupNames": [sim.customer] if sim.customer else [],
        "lastActivationDate": activated,
    } | {key: value for key, value in sim.extra.items() if key != "usageHistory"}


def _days(account: CarrierAccount, sim: Sim) -> list[dict[str, Any]]:
    """Return the daily usage of a SIM, whose sum is its counters of the billing period."""
    days = days_of_cycle(account)
    data, messages = shares(sim.data_usage, len(days)), shares(sim.sms_usage, len(days))
    return [
        {
            "bytesUsed": used,
            "extendedAttributes": [{"key": "MoSms", "value": str(sent)}, {"key": "MtSms", "value": "0"}],
            "servicePlan": sim.rate_plan,
            "smsUsed": sent,
            "source": "Raw Usage",
            "timestamp": _midnight(day),
        }
        for day, used, sent in zip(days, data, messages, strict=True)
    ]


def _midnight(day: date) -> str:
    return f"{day:%Y-%m-%d}T00:00:00Z"


def _fault(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"fault": {"code": code, "message": message}}, status=status, headers=headers)


def _oauth_refusal() -> web.Response:
    body = {"error": "invalid_client", "error_description": "Client Authentication failed."}
    return web.json_response(body, status=401)
