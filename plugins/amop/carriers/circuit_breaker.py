"""Circuit breaker of an API user: when to stop calling a failing carrier, and when to call it again. Pure.

The pattern is Nygard's circuit breaker (Release It!, 2nd edition, chapter 5). Closed: calls are allowed. Open: no call
is made until a moment. Half open: that moment has come, and one call is the probe. Calls of an API user are made one
at a time anyway, so the first call is the probe. The state is stored by `amop.carriers.call_gate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FAILURES_TO_OPEN = 4
"""Open the circuit after this many consecutive failures: a few seconds with the client's back-off, or four timeouts."""

FIRST_PAUSE = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(minutes=4)
"""The pause doubles with every failed probe up to this limit: a sync resumes within this time after a recovery."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one API user's circuit; the default is closed."""

    failures: int = 0
    """Number of consecutive failed calls."""
    failing_since: datetime | None = None
    """When the first of them failed."""
    open_until: datetime | None = None
    """No call before this moment; None = closed."""
    last_failure: str | None = None
    """Reason of the latest of them."""


class CircuitOpenError(Exception):
    """No call as this API user is allowed now.

    Args:
        circuit: an open circuit.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        super().__init__(
            f"the carrier has been failing since {_format(circuit.failing_since)}: {circuit.failures} consecutive "
            f"calls failed, the last one with: {circuit.last_failure}. No call is made until "
            f"{_format(circuit.open_until)}; one call then probes the carrier"
        )


def is_open(circuit: Circuit, now: datetime) -> bool:
    """Return True while no call is allowed."""
    return circuit.open_until is not None and now < circuit.open_until


def after_failure(circuit: Circuit, reason: str, now: datetime) -> Circuit:
    """Return the circuit after a call without a response, or with a response that reports a server error."""
    failures = circuit.failures + 1
    probes = failures - FAILURES_TO_OPEN
    # The longest pause is exceeded long before the tenth doubling; the cap keeps the power small.
    pause = min(FIRST_PAUSE * 2 ** min(max(probes, 0), 10), LONGEST_PAUSE)
    return Circuit(
        failures=failures,
        failing_since=circuit.failing_since or now,
        open_until=now + pause if probes >= 0 else None,
        last_failure=reason,
    )


def _format(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "now"
