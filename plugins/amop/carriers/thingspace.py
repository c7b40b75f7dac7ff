"""Client of the Verizon ThingSpace Connectivity Management API: reads only.

Vendor reference: thingspace.verizon.com/documentation/apis/connectivity-management (Get Credentials, Start Connectivity
Management Session, Retrieve Device Information, Retrieve Device Usage History, Synchronous Error Messages).

Every request carries two tokens. The access token (OAuth client credentials, RFC 6749, 4.4) is valid for an hour and is
renewed before it ends. The session token of the API user ends after 20 minutes without a request; it is renewed when
the carrier refuses it. The carrier locks an API user after five refused logins, so a refused one is final.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, NoReturn

from requests import PreparedRequest

from amop.carriers.account import CarrierAccount
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierWriteForbiddenError,
)
from amop.carriers.http_client import ATTEMPTS_OF_SINGLE_READ, CallGate, HttpCarrierClient, Request
from amop.carriers.malformed import MalformedPageError, TransientError
from amop.carriers.protocol import DevicePage, ListLimits, UsagePage
from amop.carriers.thingspace_pages import (
    UsageDays,
    cycle_to_date,
    device_record,
    read_device_list,
    read_usage_days,
)
from amop.carriers.vendor_answers import Answer, AnswerKind
from amop.foreign_text import SecretScrubber, remember_secrets

log = logging.getLogger(__name__)

OAUTH_PATH = "/api/ts/v1/oauth2/token"
API = "/api/m2m/v1"
ACCESS, SESSION = "access", "session"
"""Kinds of tokens."""
SPARE_SECONDS = 60.0
"""An access token is renewed this long before it ends."""
SHORTEST_LIFE_SECONDS = 1.0
NO_LIMIT = timedelta(days=36_500)
"""ThingSpace cannot list by modification: every list is whole, whatever dates are asked for."""
MOST_USAGE_PAGES = 10
"""Of 500 records each, for one SIM and billing cycle."""


class ThingSpaceClient(HttpCarrierClient):
    """A client of one ThingSpace account; use it as a context manager, from one thread.

    The connection has login and password of the API user (UWS); its extra has ``client_id`` and ``client_secret`` of
    the application and the ``account_name``.
    """

    def __init__(self, account: CarrierAccount, gate: CallGate, **options: Any) -> None:
        """Check the account; ``options`` are those of `HttpCarrierClient`.

        Raises:
            CarrierConnectionError: the connection's extra lacks a value.
        """
        missing = [name for name in ("client_id", "client_secret", "account_name") if not getattr(account, name)]
        if missing:
            raise CarrierConnectionError(f"{account.label}: set {', '.join(missing)} in the extra of the connection")
        super().__init__(account, gate, **options)
        self._own_scrubber = self._scrubber
        self._session.auth = _unchanged
        self._access_token = ""
        self._access_ends = 0.0
        self._session_token = ""

    @property
    def list_limits(self) -> ListLimits:
        """See `CarrierClient`."""
        return ListLimits(self._account.list_limits.earliest, NO_LIMIT)

    def list_devices_page(
        self,
        *,
        modified_since: datetime,
        modified_till: datetime | None = None,
        page_number: int,
        page_size: int | None = None,
        after: str | None = None,
    ) -> DevicePage:
        """See `CarrierClient`: all SIMs of the account, by their device ids."""
        if page_number > 1 and after is None:
            raise ValueError(f"page {page_number} of a ThingSpace list needs the last device id of the page before")
        last_seen = int(after or 0)
        body = {"accountName": self._account.account_name, "largestDeviceIdSeen": last_seen}
        request = Request("POST", f"{API}/devices/actions/list", body=body, what=f"page {page_number}")
        return self._call(request, read=partial(read_device_list, page_number=page_number, after=last_seen))

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        body = {"accountName": self._account.account_name, "deviceId": {"id": iccid, "kind": "iccid"}}
        request = Request("POST", f"{API}/devices/actions/list", body=body, what=f"SIM {iccid}")

        def read(document: dict[str, Any]) -> dict[str, Any]:
            devices = document.get("devices", [])
            if not isinstance(devices, list):
                raise MalformedPageError("the answer has no list of devices")
            found = [record for device in devices if (record := device_record(device)).get("iccid") == iccid]
            if not found and devices:
                raise TransientError("the response is for another SIM")
            if not found:
                raise CarrierNotFoundError(
                    f"{self._about(request)}: the account has no such SIM", status=404, error_message="no such SIM"
                )
            return found[0] | {"answer": document}

        return self._call(request, read=read, attempts=ATTEMPTS_OF_SINGLE_READ)

    def device_ctd_usage(self, iccid: str, *, cycle_start: date) -> dict[str, Any]:
        """See `CarrierClient`: the sum of the daily usage since the first day of the billing cycle, days in UTC."""
        earliest = f"{cycle_start:%Y-%m-%d}T00:00:00Z"
        latest = f"{self._clock().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        days: list[dict[str, Any]] = []
        answers: list[dict[str, Any]] = []
        for _ in range(MOST_USAGE_PAGES):
            body = {"deviceId": {"id": iccid, "kind": "iccid"}, "earliest": earliest, "latest": latest}
            request = Request("POST", f"{API}/devices/usage/actions/list", body=body, what=f"SIM {iccid}")
            page, document = self._call(request, read=_usage_page(iccid), attempts=ATTEMPTS_OF_SINGLE_READ)
            days += page.days
            answers.append(document)
            if not page.has_more or page.last_moment <= earliest:
                break
            earliest = page.last_moment
        return cycle_to_date(iccid, days) | {"answers": answers}

    def rate_plan_usage_page(
        self, *, rate_plan_code: str, rate_plan_version: int, usage_type: str, cycle_start: date, page_number: int
    ) -> UsagePage:
        """Refuse: ThingSpace has no bulk usage.

        Raises:
            CarrierRequestError: always.
        """
        text = "ThingSpace has no usage by rate plan"
        raise CarrierRequestError(f"{self._account.label}: {text}", status=400, error_message=text)

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """Refuse: this package only reads ThingSpace.

        Raises:
            CarrierWriteForbiddenError: always; nothing was sent.
        """
        raise CarrierWriteForbiddenError(
            f"{self._account.label}: nothing was sent: this package changes no service plan at ThingSpace"
        )

    def _read_once(self, request: Request) -> dict[str, Any]:
        """Send a read with both tokens; renew each token that the carrier refuses, once."""
        renewed: set[str] = set()
        while True:
            answer = self._send_once(self._with_tokens(request))
            refused = _refused_token(answer)
            if refused is None:
                return self._document_of(answer, request)
            if refused in renewed:
                self._raise_refused(answer, request)
            renewed.add(refused)
            log.info("%s: the carrier refuses the %s token; renewing it", self._account.label, refused)
            if refused == SESSION:
                self._session_token = ""
            else:
                self._access_ends = 0.0

    def _with_tokens(self, request: Request) -> Request:
        if not self._access_ends or self._access_ends <= self._monotonic():
            self._renew_access_token()
        if not self._session_token:
            self._log_in()
        headers = {"Authorization": f"Bearer {self._access_token}", "VZ-M2M-Token": self._session_token}
        return Request(request.method, request.path, body=request.body, headers=headers, what=request.what)

    def _renew_access_token(self) -> None:
        """Get an access token with the credentials of the application."""
        credentials = (str(self._account.client_id), str(self._account.client_secret))
        request = Request("POST", OAUTH_PATH, form={"grant_type": "client_credentials"}, auth=credentials)
        document = self._credentials_answer(request)
        token, seconds = document.get("access_token"), document.get("expires_in")
        if not isinstance(token, str) or not token or isinstance(seconds, bool) or not isinstance(seconds, int):
            raise TransientError("the answer has no access_token or no expires_in")
        self._access_token = token
        self._access_ends = self._monotonic() + max(seconds - SPARE_SECONDS, SHORTEST_LIFE_SECONDS)
        self._hide(token, self._session_token)

    def _log_in(self) -> None:
        """Start a session with the credentials of the API user."""
        body = {"username": self._account.user, "password": self._account.api_key}
        headers = {"Authorization": f"Bearer {self._access_token}"}
        document = self._credentials_answer(Request("POST", f"{API}/session/login", body=body, headers=headers))
        token = document.get("sessionToken")
        if not isinstance(token, str) or not token:
            raise TransientError("the answer has no sessionToken")
        self._session_token = token
        self._hide(self._access_token, token)

    def _credentials_answer(self, request: Request) -> dict[str, Any]:
        """Send credentials once and return the answer's document.

        Raises:
            CarrierAuthenticationError: they are refused.
        """
        self._scrubber = self._own_scrubber  # the answer may repeat a token that is known, and that must be read
        answer = self._send_once(request)
        if answer.kind in {AnswerKind.WRONG_CREDENTIALS, AnswerKind.REFUSED}:
            self._raise_refused(answer, request)
        return self._document_of(answer, request)

    def _raise_refused(self, answer: Answer, request: Request) -> NoReturn:
        raise CarrierAuthenticationError(
            f"{self._about(request)}: the carrier refused the login of connection {self._account.connection_id} "
            f"({answer.describe(self._scrubber)}). Check login, password, client_id and client_secret there; "
            "five refused logins lock the API user"
        )

    def _hide(self, *tokens: str) -> None:
        """Keep tokens out of all messages and stored answers."""
        account = self._account
        self._scrubber = SecretScrubber(account.api_key, account.client_secret, *tokens, user=account.user)
        remember_secrets(*tokens)


def _unchanged(request: PreparedRequest) -> PreparedRequest:
    """Sign nothing; without it `requests` would sign with a password of ~/.netrc."""
    return request


def _refused_token(answer: Answer) -> str | None:
    """Return the kind of the token that an answer refuses, None if it refuses none.

    The gateway refuses an access token with 401, the service a session token with a code such as
    ``UnifiedWebService.REQUEST_FAILED.SessionToken.Expired``.
    """
    if ".SessionToken." in answer.error_code:
        return SESSION
    return ACCESS if answer.kind is AnswerKind.WRONG_CREDENTIALS else None


def _usage_page(iccid: str) -> Any:
    """Return a reader of one SIM's daily usage that refuses the answer for another SIM."""

    def read(document: dict[str, Any]) -> tuple[UsageDays, dict[str, Any]]:
        given = document.get("deviceId")
        if isinstance(given, dict) and given.get("id") not in (None, iccid):
            raise TransientError("the response is for another SIM")
        return read_usage_days(document), document

    return read
