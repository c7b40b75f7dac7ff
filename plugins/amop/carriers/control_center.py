"""Cisco Control Center (Jasper) REST: one client for every integration of that family.

Vendor reference: developer.cisco.com/docs/control-center (Search Devices, Get Device Details, Get Device Usage,
Get Usage by Rate Plan, Edit Device Details). Page size is at most 50; `Search Devices` is in order of modification.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import quote

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from amop import time_limits
from amop.carriers.account import CarrierAccount
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from amop.carriers.http_answer import AnswerError, read_json, retry_after_seconds
from amop.carriers.protocol import DevicePage, RawUsage, UsagePage
from amop.domain.circuit_breaker import CircuitOpenError

log = logging.getLogger(__name__)

API = "/rws/api/v1"
PAGE_SIZE = 50
CONNECT_TIMEOUT_SECONDS = time_limits.CARRIER_CONNECT.total_seconds()
READ_TIMEOUT_SECONDS = time_limits.CARRIER_READ.total_seconds()
CALL_DEADLINE_SECONDS = time_limits.CARRIER_CALL.total_seconds()
ATTEMPTS = 8
BUDGET_SECONDS = 300
"""Longest time that one call and its retries may take; Airflow's own retries come after."""
USAGE_KEYS = {"DATA": "dataUsage", "SMS": "smsUsage", "VOICE": "voiceUsage"}
RETRIED_STATUSES = {408, 425, 429}
TEXT_LENGTH = 300
Result = TypeVar("Result")


class CallGate(Protocol):
    """Holds a call back until the vendor's limit allows it; one call at a time, and none to a carrier that is down."""

    def call(self) -> AbstractContextManager[None]:
        """Return the context in which one call may be made; entering it raises `CircuitOpenError` where none may."""
        ...

    def note_success(self) -> None:
        """Say, within the context, that the carrier answered."""
        ...

    def note_failure(self, reason: str) -> None:
        """Say, within the context, that it did not, or with a fault of its own; may raise `CircuitOpenError`."""
        ...

    def block(self, seconds: float) -> None:
        """Let nobody call for so many seconds."""
        ...

    def close(self) -> None:
        """Give back what the gate holds."""
        ...


class _PassingError(Exception):
    """A fault that another try may cure."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class MalformedPageError(_PassingError):
    """An answer is no whole page: not of the vendor's form, another page than asked for, or empty before the last."""


def read_device_page(document: dict[str, Any], *, page_number: int) -> DevicePage:
    """Return a page of the device list from the carrier's answer.

    Raises:
        MalformedPageError: it is no whole page.
    """
    devices, is_last = document.get("devices"), document.get("lastPage")
    if not isinstance(devices, list) or not isinstance(is_last, bool):
        raise MalformedPageError("the page has no list of devices or does not say whether it is the last")
    _require_page(document, page_number)
    if not devices and not is_last:
        raise MalformedPageError("the page is empty and not the last one")
    return DevicePage(page_number, devices, is_last, document)


def read_usage_page(document: dict[str, Any], *, usage_type: str, page_number: int) -> UsagePage:
    """Return a page of the usage of a rate plan from the carrier's answer; ``usage_type`` is what was asked for.

    Raises:
        MalformedPageError: it is no whole page.
    """
    zones, is_last = document.get("zones"), document.get("lastPage")
    if not isinstance(zones, list) or not isinstance(is_last, bool):
        raise MalformedPageError("the page has no list of zones or does not say whether it is the last")
    _require_page(document, page_number)
    records = _usage_records(zones, usage_type)
    if not records and not is_last:
        # Taken as it is, the SIMs that it should name would count as having used nothing.
        raise MalformedPageError("the page is empty and not the last one")
    return UsagePage(records, is_last, document)


class ControlCenterClient:
    """A client of one Control Center account; use it as a context manager, from one thread.

    Args:
        account: whom to call as.
        gate: the vendor's limit, across processes.
        may_write: False refuses every request that is no read, before anything is sent.
        sleep: waits between tries, in seconds; tests inject their own.
        clock: present time, for ``Retry-After`` as a date.
        monotonic: seconds that never go back, for the budget.
    """

    def __init__(
        self,
        account: CarrierAccount,
        gate: CallGate,
        *,
        may_write: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._gate = gate
        self._may_write = may_write
        self._sleep = sleep
        self._clock = clock
        self._monotonic = monotonic
        self._backoff = wait_random_exponential(multiplier=0.5, max=30)
        self._session = requests.Session()
        self._session.trust_env = not account.is_loopback
        self._session.verify = account.verify
        self._session.auth = (account.user, account.api_key)
        self._session.headers.update({"Accept": "application/json"})

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections to carrier and gate."""
        self._session.close()
        self._gate.close()

    def list_devices_page(self, *, modified_since: datetime, page_number: int) -> DevicePage:
        """See `CarrierClient`."""
        since = modified_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        parameters = {"modifiedSince": since, "pageSize": PAGE_SIZE, "pageNumber": page_number}
        read = partial(read_device_page, page_number=page_number)
        return self._call("GET", "/devices", parameters, read=read, what=f"page {page_number}")

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        return self._call("GET", f"/devices/{quote(iccid, safe='')}", read=_of_sim(iccid))

    def device_ctd_usage(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        return self._call("GET", f"/devices/{quote(iccid, safe='')}/ctdUsages", read=_of_sim(iccid))

    def rate_plan_usage_page(
        self, *, rate_plan_code: str, rate_plan_version: int, usage_type: str, cycle_start: date, page_number: int
    ) -> UsagePage:
        """See `CarrierClient`."""
        parameters = {
            "ratePlanName": rate_plan_code,
            "ratePlanVersion": rate_plan_version,
            "usageType": usage_type,
            "cycleStartDate": f"{cycle_start:%Y-%m-%d}Z",
            "pageSize": PAGE_SIZE,
            "pageNumber": page_number,
        }
        read = partial(read_usage_page, usage_type=usage_type, page_number=page_number)
        what = f"{usage_type} usage of rate plan {rate_plan_code!r} version {rate_plan_version}, page {page_number}"
        return self._call("GET", "/usages", parameters, read=read, what=what)

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """See `CarrierClient`."""
        self._call(
            "PUT", f"/devices/{quote(iccid, safe='')}", body={"ratePlan": rate_plan_code}, read=_as_it_is,
            what=f"rate plan {rate_plan_code!r}",
        )  # fmt: skip

    def _call(
        self,
        method: str,
        path: str,
        parameters: dict[str, Any] | None = None,
        *,
        read: Callable[[dict[str, Any]], Result],
        body: dict[str, Any] | None = None,
        what: str = "",
    ) -> Result:
        """Make one call, again and again while its faults may pass and its budget lasts."""
        about = f"{self._account.label}: {method} {API}{path}{f' ({what})' if what else ''}"
        begun = self._monotonic()

        def stop(state: RetryCallState) -> bool:
            spent = self._monotonic() - begun + state.upcoming_sleep
            return stop_after_attempt(ATTEMPTS)(state) or spent > BUDGET_SECONDS

        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError), stop=stop, wait=self._wait, sleep=self._sleep, reraise=True,
            before_sleep=lambda state: log.warning(
                "%s: %s; trying again in %.1f s (try %s)",
                about, _exception(state), state.upcoming_sleep, state.attempt_number,
            ),
        )  # fmt: skip
        try:
            return retrying(lambda: read(self._call_once(method, path, parameters, body, about)))
        except CircuitOpenError as error:
            raise CarrierUnavailableError(f"{about}: {error}", retry_at=error.circuit.open_until) from None
        except _PassingError as error:
            asked = self._clock() + timedelta(seconds=error.retry_after) if error.retry_after else None
            raise CarrierUnavailableError(
                f"{about}: {error}, after {self._monotonic() - begun:.0f} s of trying. The carrier is not well or not "
                "reachable; the task goes on where it stopped when it is run again",
                retry_at=asked,
            ) from None

    def _call_once(
        self, method: str, path: str, parameters: dict[str, Any] | None, body: dict[str, Any] | None, about: str
    ) -> dict[str, Any]:
        if method != "GET" and not self._may_write:
            raise CarrierWriteForbiddenError(
                f"{about}: nothing was sent, because service_provider.write_is_enabled is off for this account"
            )
        with self._gate.call():
            try:
                with self._session.request(
                    method, f"{self._account.base_url}{API}{path}", params=parameters, json=body, stream=True,
                    allow_redirects=False, timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                ) as response:  # fmt: skip
                    document = read_json(response, deadline=self._monotonic() + CALL_DEADLINE_SECONDS,
                                         monotonic=self._monotonic)  # fmt: skip
                    status, headers = response.status_code, response.headers
            except (requests.RequestException, HTTPError, AnswerError) as error:
                reason = f"no whole answer ({error if isinstance(error, AnswerError) else type(error).__name__})"
                self._gate.note_failure(reason)
                raise _PassingError(reason) from None
            if status == 408 or status >= 500:
                self._gate.note_failure(f"the carrier answered {status}{self._said(document)}")
            elif status != 429:  # throttled is not unwell: `block` is for that
                self._gate.note_success()
        if status < 300 and isinstance(document, dict):
            return document
        self._raise_for(status, headers.get("Retry-After"), document, about)
        raise _PassingError("the answer is not a JSON object")

    def _raise_for(self, status: int, retry_after: str | None, document: Any, about: str) -> None:
        """Raise what an answer that is no success means; return when it is one of no use."""
        said = self._said(document)
        if status == 401:
            raise CarrierAuthenticationError(
                f"{about}: the carrier refused API user {self._account.user!r} or its key (401{said}). Check login "
                f"and password of connection {self._account.connection_id}, then clear the failed task"
            )
        if status in RETRIED_STATUSES or status >= 500:
            seconds = retry_after_seconds(retry_after, now=self._clock())
            if status == 429:
                self._gate.block(seconds if seconds is not None else 1.0)
            raise _PassingError(f"the carrier answered {status}{said}", seconds)
        if status >= 300:
            raise CarrierRequestError(
                f"{about}: the carrier refused the call ({status}{said})", status=status, error_message=said.strip(": ")
            )

    def _said(self, document: Any) -> str:
        if not isinstance(document, dict) or not document.get("errorMessage"):
            return ""
        code = document.get("errorCode")
        text = f": {document['errorMessage']}{f' [{code}]' if code else ''}"
        # A carrier that echoes the request must not leak the key, nor the part of it that a cut would leave.
        return text.replace(self._account.api_key, "***")[:TEXT_LENGTH]

    def _wait(self, state: RetryCallState) -> float:
        error = _exception(state)
        backoff = self._backoff(state)
        return max(backoff, error.retry_after or 0.0) if isinstance(error, _PassingError) else backoff


def _exception(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _as_it_is(document: dict[str, Any]) -> dict[str, Any]:
    return document


def _of_sim(iccid: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a reader that takes the answer unless it is about another SIM."""

    def read(document: dict[str, Any]) -> dict[str, Any]:
        if document.get("iccid") not in (None, iccid):
            raise _PassingError("the answer is about another SIM")
        return document

    return read


def _require_page(document: dict[str, Any], page_number: int) -> None:
    given = document.get("pageNumber")
    if given is not None and given != page_number:
        raise MalformedPageError(f"asked for page {page_number}, the carrier gave page {given}")


def _usage_records(zones: list[Any], usage_type: str) -> list[RawUsage]:
    """Return the records of all zones; a malformed one is kept, so that validation can set it aside."""
    records = []
    for zone in zones:
        name = zone.get("zone") if isinstance(zone, dict) else None
        devices = zone.get("devices") if isinstance(zone, dict) else None
        if devices is None and isinstance(zone, dict):
            continue
        for device in devices if isinstance(devices, list) else [zone]:
            raw = device if isinstance(device, dict) else {"record": device}
            records.append(RawUsage(raw.get("deviceId"), usage_of(raw, usage_type), name, raw))
    return records


def usage_of(raw: dict[str, Any], usage_type: str) -> Any:
    """Return the value of a raw usage record of ``/usages``, not validated."""
    usage = raw.get("usage")
    return usage.get(USAGE_KEYS[usage_type]) if isinstance(usage, dict) else usage
