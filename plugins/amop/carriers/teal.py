"""Client of Teal's integration API: reads only.

Vendor reference: integrationapi.teal.global/swagger-ui.html, and its public descriptions, which docs/carriers.md names.

The API is asynchronous. A request queues an operation under a request id of the client; its result is fetched by that
id, and the carrier answers 102 (Processing) until it is there, within 15 minutes at most. The carrier also calls a
callback URL when an operation ends. This client polls and needs no callback; the URL is required, so it sends one whose
host never resolves (RFC 2606) unless the connection names another. The link to the result in an answer is not followed:
the keys go only to the host of the connection.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from requests import PreparedRequest

from amop.carriers.account import CarrierAccount
from amop.carriers.errors import (
    CarrierConnectionError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from amop.carriers.http_client import ATTEMPTS, ATTEMPTS_OF_SINGLE_READ, CallGate, HttpCarrierClient, Request
from amop.carriers.malformed import TransientError
from amop.carriers.protocol import DevicePage, ListLimits, UsagePage
from amop.carriers.teal_pages import cycle_to_date, device_record, read_device_list, read_entries
from amop.carriers.vendor_answers import AnswerKind
from amop.foreign_text import SecretScrubber

log = logging.getLogger(__name__)

API = "/api/v1"
RESULT_PATH = f"{API}/operation-result"
NO_CALLBACK = "https://callback.invalid/"
PAGE_SIZE = 100
"""The most that the carrier returns."""
PROCESSING = 102
"""HTTP status of an operation without a result."""
FIRST_ERROR_STATUS = 300
NOT_FOUND = 404
FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 5.0
OPERATION_SECONDS = timedelta(minutes=15).total_seconds()
"""The carrier completes every operation within this time."""
NO_LIMIT = timedelta(days=36_500)
"""Teal cannot list by modification: every list is whole, whatever dates are asked for."""
MOST_USAGE_PAGES = 10
"""Of 100 entries each, for one eSIM and billing cycle."""
END_READINGS = 3
"""Readings of a page that ends the list although eSIMs follow it."""
END_PAUSE_SECONDS = 2.0

Result = TypeVar("Result")


class TealClient(HttpCarrierClient):
    """A client of one Teal account; use it as a context manager, from one thread.

    Login and password of the connection are API key and API secret; ``callback_url`` of its extra is optional. An eSIM
    is identified by its EID wherever other families have the ICCID.
    """

    def __init__(self, account: CarrierAccount, gate: CallGate, **options: Any) -> None:
        """Check the account; ``options`` are those of `HttpCarrierClient`.

        Raises:
            CarrierConnectionError: a key cannot be the value of an HTTP header.
        """
        for name, value in (("login", account.user), ("password", account.api_key)):
            if not value.isascii() or not value.isprintable() or value != value.strip():
                raise CarrierConnectionError(
                    f"{account.label}: {name} has characters that a key of Teal does not have; enter it again"
                )
        super().__init__(account, gate, **options)
        self._scrubber = SecretScrubber(account.api_key, account.user, user=account.user)
        self._session.auth = _unchanged
        self._session.headers.update({"ApiKey": account.user, "ApiSecret": account.api_key})

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
        """See `CarrierClient`: all eSIMs of the account, 100 a page.

        The end of the list is confirmed: no eSIM follows the last page.
        """
        offset = PAGE_SIZE * (page_number - 1)
        read = partial(read_device_list, page_number=page_number, page_size=PAGE_SIZE, after=after)
        for reading in range(1, END_READINGS + 1):
            page: DevicePage = self._operation(self._list(offset, PAGE_SIZE, f"page {page_number}"), read=read)
            if not page.is_last_page or not self._has_esim_at(offset + len(page.devices)):
                return page
            log.warning(
                "%s: page %s of the device list has only %s eSIMs although others follow it (reading %s of %s)",
                self._account.label,
                page_number,
                len(page.devices),
                reading,
                END_READINGS,
            )
            self._sleep(END_PAUSE_SECONDS)
        raise CarrierUnavailableError(
            f"{self._account.label}: page {page_number} of the device list ended early in {END_READINGS} readings; the "
            "task resumes where it stopped when it runs again",
            cause="the device list ended before its end",
        )

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        request = Request("GET", f"{API}/esims/info", {"eid": iccid, "limit": 1}, what=f"SIM {iccid}")

        def read(document: dict[str, Any]) -> dict[str, Any]:
            entries = read_entries(document)
            found = [record for entry in entries if (record := device_record(entry)).get("iccid") == iccid]
            if not found and entries:
                raise TransientError("the response is for another SIM")
            if not found:
                raise CarrierNotFoundError(
                    f"{self._about(request)}: the account has no such SIM", status=404, error_message="no such SIM"
                )
            return found[0] | {"answer": document}

        return self._operation(request, read=read, attempts=ATTEMPTS_OF_SINGLE_READ)

    def device_ctd_usage(self, iccid: str, *, cycle_start: date) -> dict[str, Any]:
        """See `CarrierClient`: the sum of the daily usage since the first day of the billing cycle, days in UTC."""
        period = {
            "eid": iccid,
            "dataType": "DAILY",
            "periodStart": f"{cycle_start:%Y-%m-%d} 00:00:00",
            "periodEnd": f"{self._clock().astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        }
        days: list[Any] = []
        answers: list[dict[str, Any]] = []

        def read(document: dict[str, Any]) -> list[Any]:
            entries = read_entries(document)
            cycle_to_date(iccid, entries)
            answers.append(document)
            return entries

        for number in range(MOST_USAGE_PAGES):
            place = {"limit": PAGE_SIZE, "offset": PAGE_SIZE * number}
            request = Request("GET", f"{API}/data-consumption/data", period | place, what=f"SIM {iccid}")
            entries = self._operation(request, read=read, attempts=ATTEMPTS_OF_SINGLE_READ)
            days += entries
            if len(entries) < PAGE_SIZE:
                break
        return cycle_to_date(iccid, days) | {"answers": answers}

    def rate_plan_usage_page(
        self, *, rate_plan_code: str, rate_plan_version: int, usage_type: str, cycle_start: date, page_number: int
    ) -> UsagePage:
        """Refuse: Teal has no usage by rate plan.

        Raises:
            CarrierRequestError: always.
        """
        text = "Teal has no usage by rate plan"
        raise CarrierRequestError(f"{self._account.label}: {text}", status=400, error_message=text)

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """Refuse: this package only reads Teal.

        Raises:
            CarrierWriteForbiddenError: always; nothing was sent.
        """
        raise CarrierWriteForbiddenError(
            f"{self._account.label}: nothing was sent: this package changes no plan at Teal"
        )

    def _list(self, offset: int, limit: int, what: str) -> Request:
        return Request("GET", f"{API}/esims", {"limit": limit, "offset": offset}, what=what)

    def _has_esim_at(self, offset: int) -> bool:
        """Return True if the list has an eSIM at this place, counted from 0."""
        return bool(self._operation(self._list(offset, 1, "end of the list"), read=read_entries))

    def _operation(
        self, request: Request, *, read: Callable[[dict[str, Any]], Result], attempts: int = ATTEMPTS
    ) -> Result:
        """Queue an operation and return what ``read`` makes of its result.

        A poll that fails is repeated. An operation that fails, or whose result cannot be used, is queued again.
        """

        def result_of(queued: dict[str, Any]) -> Result:
            poll = Request("GET", RESULT_PATH, {"requestId": queued["requestId"]}, what=request.what)
            try:
                return read(self._call(poll, read=_whole, attempts=attempts))
            except OperationFailedError as failed:
                raise TransientError(str(failed)) from None

        return self._call(request, read=result_of, attempts=attempts)

    def _read_once(self, request: Request) -> dict[str, Any]:
        """Queue an operation under a new request id, or wait for the result of one."""
        if request.path == RESULT_PATH:
            return self._result(request)
        own = {"requestId": uuid.uuid4().hex, "callbackUrl": self._account.callback_url or NO_CALLBACK}
        queued = replace(request, parameters={**(request.parameters or {}), **own})
        self._document_of(self._send_once(queued), request)
        return {"requestId": own["requestId"]}

    def _result(self, request: Request) -> dict[str, Any]:
        """Poll until the operation has a result.

        Raises:
            OperationFailedError: its result is a failure that another operation may not meet, or it has none after the
                longest time of an operation.
        """
        began, pause = self._monotonic(), FIRST_POLL_SECONDS
        while True:
            answer = self._send_once(request)
            if answer.status == PROCESSING:
                if self._monotonic() - began + pause > OPERATION_SECONDS:
                    raise OperationFailedError(f"no result after {OPERATION_SECONDS / 60:.0f} minutes")
                self._sleep(pause)
                pause = min(2 * pause, LONGEST_POLL_SECONDS)
                continue
            if answer.status == NOT_FOUND:
                raise OperationFailedError("the carrier does not know the operation")
            is_failed = answer.has_error_body and answer.kind in {AnswerKind.FAILING, AnswerKind.UNREADABLE}
            if is_failed and answer.status < FIRST_ERROR_STATUS:
                raise OperationFailedError(f"the operation failed: {answer.describe(self._scrubber)}")
            return self._document_of(answer, request)


class OperationFailedError(Exception):
    """An operation has failed at the carrier; another one may succeed."""


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    return document


def _unchanged(request: PreparedRequest) -> PreparedRequest:
    """Sign nothing: the keys are headers. Without it `requests` would sign with a password of ~/.netrc."""
    return request
