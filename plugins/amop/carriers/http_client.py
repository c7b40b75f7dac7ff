"""HTTP of the carrier clients: one call with its gate, deadline, retries and errors; base class of the clients."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, TypeVar

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from amop import time_limits
from amop.carriers.account import CarrierAccount
from amop.carriers.circuit_breaker import CircuitOpenError
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierEmptyPageError,
    CarrierFormatError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from amop.carriers.http_deadline import limited_session
from amop.carriers.http_reads import ReadSender
from amop.carriers.http_response import ResponseBodyError, read_json_body, retry_after_seconds
from amop.carriers.malformed import EmptyPageError, MissingFieldError, TransientError
from amop.carriers.protocol import ListLimits
from amop.carriers.vendor_answers import Answer, AnswerKind
from amop.clock import Clock, utc_now
from amop.foreign_text import SecretScrubber

log = logging.getLogger(__name__)

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

    def consecutive_calls(self) -> AbstractContextManager[None]:
        """Return the context for calls one after another, which may then wait less; each still has its own context."""
        ...

    def end_turn(self) -> None:
        """Let others call before the consecutive calls have ended, because the next one will be late."""
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


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a carrier."""

    method: str
    path: str
    """Path below the account's base URL."""
    parameters: Mapping[str, Any] | None = None
    """Of the query."""
    body: Mapping[str, Any] | None = None
    """JSON."""
    form: Mapping[str, str] | None = None
    """Body of a form, instead of JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    """User and password of HTTP Basic; None = those of the client's session, if it has any."""
    what: str = ""
    """What it asks for, in messages."""
    is_write: bool = False
    """True for a request that changes something at the carrier."""


class HttpCarrierClient:
    """What the clients of all API families share; use it as a context manager, from one thread.

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
        self._scrubber = SecretScrubber(account.api_key, account.client_secret, user=account.user)
        self._backoff = wait_random_exponential(multiplier=0.5, max=30)
        self._session, self._deadline = limited_session(lambda: CALL_DEADLINE_SECONDS, monotonic)
        self._reads = ReadSender(self._session)
        self._session.trust_env = not account.is_loopback
        self._session.verify = account.verify
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

    def consecutive_calls(self) -> AbstractContextManager[None]:
        """See `CarrierClient`."""
        return self._gate.consecutive_calls()

    def _about(self, request: Request) -> str:
        """Return account and request, for messages."""
        what = f" ({request.what})" if request.what else ""
        return f"{self._account.label}: {request.method} {request.path}{what}"

    def _call(self, request: Request, *, read: Callable[[dict[str, Any]], Result], attempts: int = ATTEMPTS) -> Result:
        """Make one read; retry transient failures until the budget is spent."""
        about = self._about(request)
        started = self._monotonic()

        def stop(state: RetryCallState) -> bool:
            spent = self._monotonic() - started + state.upcoming_sleep
            return stop_after_attempt(attempts)(state) or spent > BUDGET_SECONDS

        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop,
            wait=self._wait,
            sleep=self._pause,
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
            return retrying(lambda: read(self._read_once(request)))
        except CircuitOpenError as error:
            raise CarrierUnavailableError(
                f"{about}: {error}", retry_at=error.circuit.open_until, cause=error.circuit.last_failure or ""
            ) from None
        except MissingFieldError as error:
            raise CarrierFormatError(
                f"{about}: {error}, in every try. The carrier's format has changed: contact the carrier"
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

    def _read_once(self, request: Request) -> dict[str, Any]:
        """Send a read once and return its document."""
        return self._document_of(self._send_once(request), request)

    def _document_of(self, answer: Answer, request: Request) -> dict[str, Any]:
        """Return the document of a successful answer.

        Raises:
            CarrierError: a retry would meet the same answer.
            TransientError: a retry may help.
        """
        if answer.kind is AnswerKind.SUCCESS:
            document: dict[str, Any] = answer.document
            return document
        if answer.kind in {AnswerKind.WRONG_CREDENTIALS, AnswerKind.REFUSED}:
            self._raise_final(answer, self._about(request))
        seconds = retry_after_seconds(answer.retry_after, now=self._clock())
        is_throttle = answer.kind is AnswerKind.THROTTLED
        if answer.kind is AnswerKind.UNREADABLE and not answer.has_error_body:
            raise TransientError("the response body is not a JSON object")
        raise TransientError(
            f"the carrier returned {answer.describe(self._scrubber)}", seconds, is_throttle=is_throttle
        )

    def _send_once(self, request: Request) -> Answer:
        """Send one request and return its complete answer, whatever its status is.

        Raises:
            CarrierWriteForbiddenError: this client is read-only; nothing was sent.
            CircuitOpenError: the carrier is failing; nothing was sent.
            TransientError: the request was sent, and no complete answer came back.
        """
        if request.is_write and not self._may_write:
            raise CarrierWriteForbiddenError(
                f"{self._about(request)}: nothing was sent, because service_provider.write_is_enabled is off for this "
                "account"
            )
        with self._gate.call():
            try:
                with self._sent(request) as response:
                    document = read_json_body(response, deadline=self._deadline.moment, monotonic=self._monotonic)
                    status, retry_after = response.status_code, response.headers.get("Retry-After")
            except (requests.RequestException, HTTPError, ResponseBodyError) as error:
                cause = error if isinstance(error, ResponseBodyError) else type(error).__name__
                reason = f"no complete response ({cause})"
                self._record_failure(reason, is_write=request.is_write)
                raise TransientError(reason) from None
            answer = Answer(status, retry_after, self._scrubber.scrub_document(document))
            if answer.kind is AnswerKind.FAILING:
                reason = f"the carrier returned {answer.describe(self._scrubber)}"
                self._record_failure(reason, is_write=request.is_write)
            elif answer.kind is AnswerKind.THROTTLED:
                # A throttled carrier is not failing. Within the turn, so that no other process calls before the pause.
                self._block(answer)
            else:
                self._gate.record_success()
        return answer

    def _sent(self, request: Request) -> requests.Response:
        """Send a request and return its response, whose body has not been read."""
        address = f"{self._account.base_url}{request.path}"
        timeout = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
        if request.method == "GET" and request.auth is None and request.body is None and request.form is None:
            return self._reads.get(address, request.parameters, request.headers, timeout=timeout)
        return self._session.request(
            request.method,
            address,
            params=request.parameters,
            json=request.body,
            data=request.form,
            headers=request.headers,
            auth=request.auth,
            stream=True,
            allow_redirects=False,
            timeout=timeout,
        )

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
                f"{about}: the carrier refused the login of connection {self._account.connection_id} ({text}). Check "
                "login and password there"
            )
        refused = CarrierNotFoundError if answer.is_not_found else CarrierRequestError
        raise refused(
            f"{about}: the carrier refused the request ({text})",
            status=answer.status,
            error_message=answer.error_text(self._scrubber),
        )

    def _pause(self, seconds: float) -> None:
        self._gate.end_turn()
        self._sleep(seconds)

    def _wait(self, state: RetryCallState) -> float:
        error = _exception(state)
        backoff = self._backoff(state)
        return max(backoff, error.retry_after or 0.0) if isinstance(error, TransientError) else backoff


def _exception(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
