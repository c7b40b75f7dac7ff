"""Scripted faults of the sandbox carrier: which calls fail, how, and how often."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

ACTIONS = (
    "status",
    "reset",
    "truncate",
    "hang_seconds",
    "drip_seconds",
    "empty_page",
    "repeat_page",
    "endless_pages",
    "touch",
    "forget_write",
)


@dataclass(slots=True)
class Fault:
    """One scripted fault. A criterion that is None matches every call; exactly one action must be set.

    ``touch`` is not an error: the call gets its normal response, then the given SIMs are marked as modified, which
    moves them to the end of the list and shifts the pages.
    """

    account: str | None = None
    method: str | None = None
    path: str | None = None
    """Prefix of the path, for example ``/rws/api/v1/usages``."""
    page_number: int | None = None
    nth_call: int = 1
    """First matching call that fails, counted from 1 since the fault was added."""
    times: int | None = 1
    """Number of consecutive matching calls that fail; None means until the faults are deleted."""
    status: int | None = None
    error_message: str = "scripted fault"
    retry_after_seconds: int | None = None
    retry_after_form: str = "seconds"
    """``seconds`` or ``http_date``."""
    reset: bool = False
    """Close the connection with a TCP reset, without a response."""
    truncate: bool = False
    """Announce the whole body, but send only half of it."""
    hang_seconds: float | None = None
    """Wait this long before the normal response."""
    drip_seconds: float | None = None
    """Send the normal response in pieces of 64 bytes with this pause between them."""
    empty_page: bool = False
    """Return a page without entries that is not marked as the last one."""
    repeat_page: bool = False
    """Return the entries of the previous page under the requested page number."""
    endless_pages: bool = False
    """Never mark a page as the last one; repeat the last page for every higher page number."""
    touch: list[str] = field(default_factory=list)
    """ICCIDs to mark as modified after the call."""
    forget_write: bool = False
    """Confirm a write without performing it."""
    matched: int = 0
    applied: int = 0

    def __post_init__(self) -> None:
        """Refuse a fault without an action, with several actions, or with invalid counts."""
        chosen = [action for action in ACTIONS if getattr(self, action) not in (None, False, [])]
        if len(chosen) != 1:
            raise ValueError(f"a fault needs exactly one of {', '.join(ACTIONS)}; this one has {chosen or 'none'}")
        if self.retry_after_form not in ("seconds", "http_date"):
            raise ValueError(f"retry_after_form is {self.retry_after_form!r}, not 'seconds' or 'http_date'")
        if self.nth_call < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth_call and times must be at least 1")

    def applies_to(self, *, account: str, method: str, path: str, page_number: int | None) -> bool:
        """Count the call if it matches the criteria, and return whether it must fail."""
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
        """Return the ``Retry-After`` header in the configured form, or None if there is none."""
        if self.retry_after_seconds is None:
            return None
        if self.retry_after_form == "seconds":
            return str(self.retry_after_seconds)
        # An HTTP date has whole seconds. Round up, so that the wait is never shorter than configured.
        moment = datetime.now(UTC) + timedelta(seconds=self.retry_after_seconds + 1)
        return format_datetime(moment.replace(microsecond=0), usegmt=True)


class FaultScript:
    """The scripted faults of a server, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, document: dict[str, Any]) -> Fault:
        """Add a fault from its JSON form.

        Raises:
            ValueError: a key is unknown, there is not exactly one action, or a count is below 1.
        """
        allowed = set(Fault.__dataclass_fields__) - {"matched", "applied"}
        unknown = sorted(set(document) - allowed)
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
        fault = Fault(**document)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Delete all faults."""
        self._faults.clear()

    def choose(self, *, account: str, method: str, path: str, page_number: int | None) -> Fault | None:
        """Return the first fault that applies to this call. Later faults do not count the call."""
        call = {"account": account, "method": method, "path": path, "page_number": page_number}
        for fault in self._faults:
            if fault.applies_to(**call):  # type: ignore[arg-type]
                return fault
        return None

    def documents(self) -> list[dict[str, Any]]:
        """Return the faults as JSON values, with the numbers of matched and of failed calls."""
        return [asdict(fault) for fault in self._faults]
