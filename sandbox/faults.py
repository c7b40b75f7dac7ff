"""Scripted faults of the sandbox carrier: which call goes wrong, how, and how often."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

ACTIONS = (
    "status", "reset", "truncate", "hang_seconds", "drip_seconds",
    "empty_page", "repeat_page", "endless_pages", "touch", "forget_write",
)  # fmt: skip


@dataclass(slots=True)
class Fault:
    """One scripted fault. What is None does not narrow the match; exactly one action is set.

    ``touch`` is not an error: the call is answered as usual and then the given SIMs are marked as modified
    now, so that they move to the end of the list and the pages shift.
    """

    account: str | None = None
    method: str | None = None
    path: str | None = None
    """Prefix of the path, for instance ``/rws/api/v1/usages``."""
    page_number: int | None = None
    nth_call: int = 1
    """From which matching call on, counted since the fault was set; the first is 1."""
    times: int | None = 1
    """How many matching calls in a row; None = until the faults are deleted."""
    status: int | None = None
    error_message: str = "scripted fault"
    retry_after_seconds: int | None = None
    retry_after_form: str = "seconds"
    """``seconds`` or ``http_date``."""
    reset: bool = False
    """Cut the connection with a TCP reset, without an answer."""
    truncate: bool = False
    """Announce the whole body and send half of it."""
    hang_seconds: float | None = None
    """Wait before the usual answer."""
    drip_seconds: float | None = None
    """Send the usual answer in pieces of 64 bytes, one in so many seconds."""
    empty_page: bool = False
    """Answer a page without entries that does not claim to be the last one."""
    repeat_page: bool = False
    """Answer with the entries of the page before, under the number that was asked for."""
    endless_pages: bool = False
    """Never say that a page is the last one; behind the last one it comes again and again."""
    touch: list[str] = field(default_factory=list)
    """ICCIDs to mark as modified after the call."""
    forget_write: bool = False
    """Answer a write as done without doing it."""
    matched: int = 0
    applied: int = 0

    def __post_init__(self) -> None:
        """Refuse a fault that would silently do nothing."""
        chosen = [action for action in ACTIONS if getattr(self, action) not in (None, False, [])]
        if len(chosen) != 1:
            raise ValueError(f"a fault needs exactly one of {', '.join(ACTIONS)}; this one has {chosen or 'none'}")
        if self.retry_after_form not in ("seconds", "http_date"):
            raise ValueError(f"retry_after_form is {self.retry_after_form!r}, not 'seconds' or 'http_date'")
        if self.nth_call < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth_call and times count from 1")

    def takes(self, *, account: str, method: str, path: str, page_number: int | None) -> bool:
        """Return True when this call is one that goes wrong; counts the call when it matches."""
        if self.account not in (None, account) or self.method not in (None, method):
            return False
        if self.path is not None and not path.startswith(self.path):
            return False
        if self.page_number not in (None, page_number):
            return False
        self.matched += 1
        if self.matched < self.nth_call or (self.times is not None and self.matched >= self.nth_call + self.times):
            return False
        self.applied += 1
        return True

    def retry_after(self) -> str | None:
        """Return the ``Retry-After`` header in the form asked for, or None."""
        if self.retry_after_seconds is None:
            return None
        if self.retry_after_form == "seconds":
            return str(self.retry_after_seconds)
        # An HTTP-date has whole seconds: round up, so that the wait is never shorter than asked.
        moment = datetime.now(UTC) + timedelta(seconds=self.retry_after_seconds + 1)
        return format_datetime(moment.replace(microsecond=0), usegmt=True)


class FaultScript:
    """The faults of a server, in the order in which they were set."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, document: dict[str, Any]) -> Fault:
        """Add a fault from its JSON form.

        Raises:
            ValueError: unknown key, no action or several, a count below 1.
        """
        allowed = set(Fault.__dataclass_fields__) - {"matched", "applied"}
        unknown = sorted(set(document) - allowed)
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
        fault = Fault(**document)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault."""
        self._faults.clear()

    def choose(self, *, account: str, method: str, path: str, page_number: int | None) -> Fault | None:
        """Return the first fault that takes this call; the ones after it do not count the call."""
        call = {"account": account, "method": method, "path": path, "page_number": page_number}
        for fault in self._faults:
            if fault.takes(**call):  # type: ignore[arg-type]
                return fault
        return None

    def documents(self) -> list[dict[str, Any]]:
        """Return the faults with how often each matched and was applied."""
        return [asdict(fault) for fault in self._faults]
