"""Client of the Cisco Control Center (Jasper) REST API, for every integration of that family.

Vendor reference: developer.cisco.com/docs/control-center (Search Devices, Get Device Details, Get Device Usage,
Get Usage by Rate Plan, Edit Device Details). The page size is at most 50; `Search Devices` is sorted by modification.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, TypeVar
from urllib.parse import quote

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from amop import time_limits
from amop.carriers.account import CarrierAccount
from amop.carriers.circuit_breaker import CircuitOpenError
from amop.carriers.control_center_pages import (
    LONGEST_ICCID,
    EmptyPageError,
    MissingFieldError,
    TransientError,
    is_same_sim,
    read_device_page,
    read_usage_page,
)
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierEmptyPageError,
    CarrierFormatError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
    CarrierWriteInDoubtError,
)
from amop.carriers.http_deadline import limited_session
from amop.carriers.http_response import ResponseBodyError, read_json_body, retry_after_seconds
from amop.carriers.protocol import DevicePage, ListLimits, UsagePage
from amop.carriers.vendor_answers import Answer, AnswerKind
from amop.clock import Clock, utc_now
from amop.families import CONTROL_CENTER_LIMITS
from amop.foreign_text import SecretScrubber, clean_text

log = logging.getLogger(__name__)

API = "/rws/api/v1"
PAGE_SIZE = CONTROL_CENTER_LIMITS.page_size
CONNECT_TIMEOUT_SECONDS = time_limits.CARRIER_CONNECT.total_seconds()
READ_TIMEOUT_SECONDS = time_limits.CARRIER_READ.total_seconds()
CALL_DEADLINE_SECONDS = time_limits.CARRIER_CALL.total_seconds()
ATTEMPTS = 8
ATTEMPTS_OF_SINGLE_READ = 3
"""For reads of one SIM: fewer than open the circuit, so that a SIM for which the carrier always fails blocks none."""
BUDGET_SECONDS = 300
"""Longest duration of one call with its retries; Airflow's own retries come after that."""
THROTTLE_PAUSE = timedelta(minutes=2)
"""Pause after a spent budget when a throttling carrier sent no usable ``Retry-After``; the task resumes after it."""
Result = TypeVar("Result")


class CallGate(Protocol):
    """Delays a call until the rate limit allows it; one call at a time, and none while the carrier is failing."""

    def call(self) -> AbstractContextManager[None]:
        """Return the context for one call; entering it raises `CircuitOpenError` while no call is allowed."""
        ...

    def record_success(self) -> None:
        """Record, within the context, that the carrier responded."""
        ...

    def record_failure(self, reason: str) -> None:
        """Record, within the context, a missing response or a server error; may raise `CircuitOpenError`."""
        ...

    def block(self, seconds: float) -> None:
        """Block all calls for a number of seconds."""
        ...

    def close(self) -> None:
        """Release the resources of the gate."""
        ...


class ControlCenterClient:
    """A client of one Control Center account; use it as a context manager, from one thread.

    Args:
        account: the API user.
        gate: the rate limit, shared by all processes.
        may_write: False refuses every write before anything is sent.
        sleep: waits between attempts, in seconds; tests inject their own.
        clock: present time, for a ``Retry-After`` that is a date.
        monotonic: monotonic clock in seconds, for the retry budget.
    """

    def __init__(
        self,
        account: CarrierAccount,
        gate: CallGate,
        *,
        may_write: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._gate = gate
        self._may_write = may_write
        self._sleep = sleep
        self._clock = clock
        self._monotonic = monotonic
        self._scrubber = SecretScrubber(account.api_key, user=account.user)
        self._backoff = wait_random_exponential(multiplier=0.5, max=30)
        self._session, self._deadline = limited_session(lambda: CALL_DEADLINE_SECONDS, monotonic)
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
        """Close the connections of the client and its gate."""
        self._session.close()
        self._gate.close()

    @property
    def list_limits(self) -> ListLimits:
        """See `CarrierClient`."""
        return self._account.list_limits

    def list_devices_page(
        self, *, modified_since: datetime, modified_till: datetime | None = None, page_number: int
    ) -> DevicePage:
        """See `CarrierClient`."""
        parameters: dict[str, Any] = {"modifiedSince": _utc_text(modified_since)}
        if modified_till is not None:
            parameters["modifiedTill"] = _utc_text(modified_till)
        parameters |= {"pageSize": PAGE_SIZE, "pageNumber": page_number}
        read = partial(read_device_page, page_number=page_number)
        return self._call("GET", "/devices", parameters, read=read, what=f"page {page_number}")

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        path = f"/devices/{quote(iccid, safe='')}"
        return self._call("GET", path, read=_of_sim(iccid), attempts=ATTEMPTS_OF_SINGLE_READ)

    def device_ctd_usage(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        path = f"/devices/{quote(iccid, safe='')}/ctdUsages"
        return self._call("GET", path, read=_of_sim(iccid), attempts=ATTEMPTS_OF_SINGLE_READ)

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
        """See `CarrierClient`. The request is sent once and never repeated here."""
        path = f"/devices/{quote(iccid, safe='')}"
        about = f"{self._account.label}: PUT {API}{path} (rate plan {rate_plan_code!r})"
        try:
            answer = self._send_once("PUT", path, None, {"ratePlan": rate_plan_code}, about)
        except CircuitOpenError as error:
            raise CarrierUnavailableError(
                f"{about}: nothing was sent: {error}", retry_at=error.circuit.open_until
            ) from None
        except TransientError as error:
            raise CarrierWriteInDoubtError(f"{about}: {error}; whether the carrier did it is not known") from None
        kind, words = answer.kind, answer.describe(self._scrubber)
        if kind is AnswerKind.WRONG_CREDENTIALS or (kind is AnswerKind.REFUSED and answer.has_error_body):
            self._raise_final(answer, about)
        if kind is AnswerKind.THROTTLED:
            self._block(answer)
        if kind is not AnswerKind.SUCCESS:
            raise CarrierWriteInDoubtError(
                f"{about}: the carrier returned {words}; whether it did the change is not known",
                is_denied=answer.has_error_body and answer.status < 300 and kind is not AnswerKind.THROTTLED,
            )
        if answer.document.get("iccid") != iccid:
            shown = clean_text(repr(answer.document.get("iccid")), scrubber=self._scrubber, maximum=60)
            raise CarrierWriteInDoubtError(
                f"{about}: the carrier returned {words} for SIM {shown}; whether it did the change is not known"
            )

    def _call(
        self,
        method: str,
        path: str,
        parameters: dict[str, Any] | None = None,
        *,
        read: Callable[[dict[str, Any]], Result],
        what: str = "",
        attempts: int = ATTEMPTS,
    ) -> Result:
        """Make one read; retry transient failures until the budget is spent."""
        about = f"{self._account.label}: {method} {API}{path}{f' ({what})' if what else ''}"
        started = self._monotonic()

        def stop(state: RetryCallState) -> bool:
            spent = self._monotonic() - started + state.upcoming_sleep
            return stop_after_attempt(attempts)(state) or spent > BUDGET_SECONDS

        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop,
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
            before_sleep=lambda state: log.warning(
                "%s: %s; retrying in %.1f s (attempt %s failed)",
                about,
                _exception(state),
                state.upcoming_sleep,
                state.attempt_number,
            ),
        )
        try:
            return retrying(lambda: read(self._read_once(method, path, parameters, about)))
        except CircuitOpenError as error:
            raise CarrierUnavailableError(
                f"{about}: {error}", retry_at=error.circuit.open_until, cause=error.circuit.last_failure or ""
            ) from None
        except MissingFieldError as error:
            raise CarrierFormatError(
                f"{about}: {error}, in every try. The carrier's format has changed: contact the carrier, then clear "
                "the failed task"
            ) from None
        except EmptyPageError as error:
            raise CarrierEmptyPageError(f"{about}: {error}, in every try", document=error.document) from None
        except TransientError as error:
            pause = error.retry_after or (THROTTLE_PAUSE.total_seconds() if error.is_throttle else None)
            retry_at = self._clock() + timedelta(seconds=pause) if pause else None
            raise CarrierUnavailableError(
                f"{about}: {error}, after {self._monotonic() - started:.0f} s of retries. The carrier is failing or "
                "unreachable; the task resumes where it stopped when it runs again",
                retry_at=retry_at,
                cause=str(error),
            ) from None

    def _read_once(self, method: str, path: str, parameters: dict[str, Any] | None, about: str) -> dict[str, Any]:
        answer = self._send_once(method, path, parameters, None, about)
        if answer.kind is AnswerKind.SUCCESS:
            document: dict[str, Any] = answer.document
            return document
        if answer.kind in {AnswerKind.WRONG_CREDENTIALS, AnswerKind.REFUSED}:
            self._raise_final(answer, about)
        seconds = retry_after_seconds(answer.retry_after, now=self._clock())
        is_throttle = answer.kind is AnswerKind.THROTTLED
        if is_throttle:
            self._block(answer)
        if answer.kind is AnswerKind.UNREADABLE and not answer.has_error_body:
            raise TransientError("the response body is not a JSON object")
        raise TransientError(
            f"the carrier returned {answer.describe(self._scrubber)}", seconds, is_throttle=is_throttle
        )

    def _send_once(
        self, method: str, path: str, parameters: dict[str, Any] | None, body: dict[str, Any] | None, about: str
    ) -> Answer:
        """Send one request and return its complete answer, whatever its status is.

        Raises:
            CarrierWriteForbiddenError: this client is read-only; nothing was sent.
            CircuitOpenError: the carrier is failing; nothing was sent.
            TransientError: the request was sent, and no complete answer came back.
        """
        if method != "GET" and not self._may_write:
            raise CarrierWriteForbiddenError(
                f"{about}: nothing was sent, because service_provider.write_is_enabled is off for this account"
            )
        with self._gate.call():
            try:
                with self._session.request(
                    method,
                    f"{self._account.base_url}{API}{path}",
                    params=parameters,
                    json=body,
                    stream=True,
                    allow_redirects=False,
                    timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                ) as response:
                    document = read_json_body(response, deadline=self._deadline.moment, monotonic=self._monotonic)
                    status, retry_after = response.status_code, response.headers.get("Retry-After")
            except (requests.RequestException, HTTPError, ResponseBodyError) as error:
                cause = error if isinstance(error, ResponseBodyError) else type(error).__name__
                reason = f"no complete response ({cause})"
                self._record_failure(reason, is_write=body is not None)
                raise TransientError(reason) from None
            answer = Answer(status, retry_after, self._scrubber.scrub_document(document))
            if answer.kind is AnswerKind.FAILING:
                reason = f"the carrier returned {answer.describe(self._scrubber)}"
                self._record_failure(reason, is_write=body is not None)
            elif answer.kind is not AnswerKind.THROTTLED:  # a throttled carrier is not failing: `block` handles it
                self._gate.record_success()
        return answer

    def _record_failure(self, reason: str, *, is_write: bool) -> None:
        """Record a failure in the circuit; one that a write has opened shows with the next call."""
        with suppress(CircuitOpenError) if is_write else nullcontext():
            self._gate.record_failure(reason)

    def _block(self, answer: Answer) -> None:
        """Block the API user for as long as a throttling carrier asked for."""
        self._gate.block(retry_after_seconds(answer.retry_after, now=self._clock()) or 1.0)

    def _raise_final(self, answer: Answer, about: str) -> NoReturn:
        """Raise the error of an answer that a retry would meet again."""
        text = answer.describe(self._scrubber)
        if answer.kind is AnswerKind.WRONG_CREDENTIALS:
            raise CarrierAuthenticationError(
                f"{about}: the carrier refused API user {self._account.user!r} or its key ({text}). Check "
                f"login and password of connection {self._account.connection_id}, then clear the failed task"
            )
        raise CarrierRequestError(
            f"{about}: the carrier refused the request ({text})",
            status=answer.status,
            error_message=answer.error_text(self._scrubber),
        )

    def _wait(self, state: RetryCallState) -> float:
        error = _exception(state)
        backoff = self._backoff(state)
        return max(backoff, error.retry_after or 0.0) if isinstance(error, TransientError) else backoff


def _exception(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _of_sim(iccid: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a reader that refuses the body of another SIM."""

    def read(document: dict[str, Any]) -> dict[str, Any]:
        given = document.get("iccid")
        if given is not None and not is_same_sim(given, iccid):
            raise TransientError(f"the response is for another SIM, {str(given)[:LONGEST_ICCID]!a}")
        return document

    return read
