"""Client of the Cisco Control Center (Jasper) REST API, for every integration of that family.

Vendor reference: developer.cisco.com/docs/control-center (Search Devices, Get Device Details, Get Device Usage,
Get Usage by Rate Plan, Edit Device Details). The page size is at most 50; `Search Devices` is sorted by modification.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from amop.carriers.account import CarrierAccount
from amop.carriers.circuit_breaker import CircuitOpenError
from amop.carriers.control_center_pages import LONGEST_ICCID, is_same_sim, read_device_page, read_usage_page
from amop.carriers.errors import CarrierUnavailableError, CarrierWriteInDoubtError
from amop.carriers.http_client import ATTEMPTS_OF_SINGLE_READ, CallGate, HttpCarrierClient, Request
from amop.carriers.malformed import TransientError
from amop.carriers.protocol import DevicePage, UsagePage
from amop.carriers.vendor_answers import AnswerKind
from amop.families import CONTROL_CENTER_LIMITS
from amop.foreign_text import clean_text

API = "/rws/api/v1"
PAGE_SIZE = CONTROL_CENTER_LIMITS.page_size


class ControlCenterClient(HttpCarrierClient):
    """A client of one Control Center account; use it as a context manager, from one thread."""

    def __init__(self, account: CarrierAccount, gate: CallGate, **options: Any) -> None:
        """Sign every request with HTTP Basic; ``options`` are those of `HttpCarrierClient`."""
        super().__init__(account, gate, **options)
        self._session.auth = (account.user, account.api_key)

    def list_devices_page(
        self,
        *,
        modified_since: datetime,
        modified_till: datetime | None = None,
        page_number: int,
        page_size: int | None = None,
        after: str | None = None,
    ) -> DevicePage:
        """See `CarrierClient`; pages have numbers, ``after`` is not used."""
        parameters: dict[str, Any] = {"modifiedSince": _utc_text(modified_since)}
        if modified_till is not None:
            parameters["modifiedTill"] = _utc_text(modified_till)
        parameters |= {"pageSize": page_size or PAGE_SIZE, "pageNumber": page_number}
        request = Request("GET", f"{API}/devices", parameters, what=f"page {page_number}")
        return self._call(request, read=partial(read_device_page, page_number=page_number))

    def device_details(self, iccid: str) -> dict[str, Any]:
        """See `CarrierClient`."""
        return self._call(Request("GET", _path(iccid)), read=_of_sim(iccid), attempts=ATTEMPTS_OF_SINGLE_READ)

    def device_ctd_usage(self, iccid: str, *, cycle_start: date | None = None) -> dict[str, Any]:
        """See `CarrierClient`; the carrier knows the billing cycle, ``cycle_start`` is not used."""
        request = Request("GET", f"{_path(iccid)}/ctdUsages")
        return self._call(request, read=_of_sim(iccid), attempts=ATTEMPTS_OF_SINGLE_READ)

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
        what = f"{usage_type} usage of rate plan {rate_plan_code!r} version {rate_plan_version}, page {page_number}"
        read = partial(read_usage_page, usage_type=usage_type, page_number=page_number)
        return self._call(Request("GET", f"{API}/usages", parameters, what=what), read=read)

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """See `CarrierClient`. The request is sent once and never repeated here."""
        what = f"rate plan {rate_plan_code!r}"
        request = Request("PUT", _path(iccid), body={"ratePlan": rate_plan_code}, what=what, is_write=True)
        about = self._about(request)
        try:
            answer = self._send_once(request)
        except CircuitOpenError as error:
            raise CarrierUnavailableError(
                f"{about}: nothing was sent: {error}", retry_at=error.circuit.open_until
            ) from None
        except TransientError as error:
            raise CarrierWriteInDoubtError(f"{about}: {error}; whether the carrier did it is not known") from None
        kind, words = answer.kind, answer.describe(self._scrubber)
        if kind is AnswerKind.WRONG_CREDENTIALS or (kind is AnswerKind.REFUSED and answer.has_error_body):
            self._raise_final(answer, about)
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


def _path(iccid: str) -> str:
    return f"{API}/devices/{quote(iccid, safe='')}"


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
