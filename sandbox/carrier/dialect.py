"""What differs between the carrier APIs that a sandbox server speaks: sign-in, error bodies and paging."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from sandbox.carrier.account import CarrierAccount

Answer = Callable[[CarrierAccount, web.Request], Awaitable[dict[str, Any]]]
"""A function that returns the correct response of a call."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that a request belongs to."""

    user: str
    """Name of the account; empty if the request names no account."""
    refusal: web.Response | None = None
    """The response to a request that is not signed in; None = it is."""


class AccountKeys:
    """The keys of the accounts, and the accounts whose keys are refused for the time being."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys
        self.refused: set[str] = set()

    def copy(self, user: str, to: str) -> None:
        """Give another account the key of an account."""
        self._keys[to] = self._keys[user]

    def is_valid(self, user: str, password: str) -> bool:
        """Return True for the key of an account, unless the account's key is refused."""
        known = self._keys.get(user)
        return known is not None and hmac.compare_digest(password.encode(), known.encode()) and user not in self.refused


class Dialect(Protocol):
    """One API."""

    async def identify(self, request: web.Request) -> Caller:
        """Return the account of a request, and the refusal if it is not signed in."""
        ...

    def error(
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        """Return an error response in the API's form."""
        ...

    async def page_number(self, account: CarrierAccount, request: web.Request) -> int | None:
        """Return the page that a request asks for; None for a request of no list."""
        ...

    async def repeated_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """Return the requested page with the entries of the previous page."""
        ...

    async def endless_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """Return the requested page, never marked as the last one; beyond the end the last page again."""
        ...

    async def empty_page(self, request: web.Request) -> dict[str, Any]:
        """Return a page without entries that is not marked as the last one."""
        ...


class ControlCenterDialect:
    """Cisco Control Center: HTTP Basic, pages by number."""

    def __init__(self, keys: AccountKeys) -> None:
        self._keys = keys

    async def identify(self, request: web.Request) -> Caller:
        """See `Dialect`."""
        user, password = basic_credentials(request)
        refusal = None if self._keys.is_valid(user, password) else self.error(401, "Invalid credentials.", "10000001")
        return Caller(user, refusal)

    def error(
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        """See `Dialect`."""
        document = {"errorMessage": message} | ({"errorCode": code} if code else {})
        return web.json_response(document, status=status, headers=headers)

    async def page_number(self, account: CarrierAccount, request: web.Request) -> int | None:
        """See `Dialect`."""
        page = request.query.get("pageNumber", "1" if "iccid" not in request.match_info else "")
        return int(page) if page.isdigit() else None

    async def repeated_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """See `Dialect`."""
        requested = _page_number(request)
        own = await answer(account, request)
        before = await answer(account, _with_page(request, max(1, requested - 1)))
        return before | {"pageNumber": requested, "lastPage": own["lastPage"]}

    async def endless_page(self, account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
        """See `Dialect`."""
        requested = number = _page_number(request)
        while True:
            document = await answer(account, _with_page(request, number))
            if number == 1 or document.get("devices") or document.get("zones"):
                return document | {"pageNumber": requested, "lastPage": False}
            number -= 1

    async def empty_page(self, request: web.Request) -> dict[str, Any]:
        """See `Dialect`."""
        return {"pageNumber": _page_number(request), "devices": [], "zones": [], "lastPage": False}


def basic_credentials(request: web.Request) -> tuple[str, str]:
    """Return user and password of HTTP Basic, empty strings if the header is missing or malformed."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _page_number(request: web.Request) -> int:
    return int(request.query.get("pageNumber", "1"))


def _with_page(request: web.Request, number: int) -> web.Request:
    return request.clone(rel_url=request.rel_url.update_query(pageNumber=str(number)))
