"""When to stop calling a carrier that is not well, and when to try it again: pure, the state is kept elsewhere.

The pattern is Nygard's circuit breaker (Release It!, 2nd edition, chapter 5). Closed: calls go through. Open: nobody
calls until a moment. Half open: that moment has come, one call is the probe; calls of an API user are made one at a
time anyway, so that the first one is it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FAILURES_TO_OPEN = 4
"""Failures in a row that open the circuit; at the client's back-off they take a few seconds, or four time-outs."""

FIRST_PAUSE = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(minutes=4)
"""The pause doubles with every probe that fails, up to this: so long after the carrier's return a sync goes on."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one API user's circuit; the default is a closed one."""

    failures: int = 0
    """Failed calls in a row."""
    unwell_since: datetime | None = None
    """When the first of them failed."""
    open_until: datetime | None = None
    """No call before this moment; None = closed."""
    last_failure: str | None = None
    """What the latest of them said."""


class CircuitOpenError(Exception):
    """Nobody may call as this API user now.

    Args:
        circuit: an open circuit.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        super().__init__(
            f"the carrier is not well since {_shown(circuit.unwell_since)}: {circuit.failures} calls in a row failed, "
            f"the last one with: {circuit.last_failure}. It is left alone until {_shown(circuit.open_until)}, then one "
            "call tries it"
        )


def is_open(circuit: Circuit, now: datetime) -> bool:
    """Return True while nobody may call."""
    return circuit.open_until is not None and now < circuit.open_until


def after_failure(circuit: Circuit, reason: str, now: datetime) -> Circuit:
    """Return the circuit after a call that the carrier did not answer, or answered with a fault of its own."""
    failures = circuit.failures + 1
    probes = failures - FAILURES_TO_OPEN
    # From the tenth doubling on the longest pause is passed anyway.
    pause = min(FIRST_PAUSE * 2 ** min(max(probes, 0), 10), LONGEST_PAUSE)
    return Circuit(
        failures=failures,
        unwell_since=circuit.unwell_since or now,
        open_until=now + pause if probes >= 0 else None,
        last_failure=reason,
    )


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "now"
