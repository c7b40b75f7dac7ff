"""Races between our own processes: what two of them do at once, what one leaves alone, and a tally; for tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

from amop.notify.amop_client import AmopClient
from amop.pipeline import carrier_optimization, optimization_inputs
from amop.pipeline.optimization_runs import OptimizationRequest, open_instance
from amop.pipeline.outbox_delivery import DeliveryReport, deliver_outbox
from sandbox.amop import RunningAmop
from tests.interleaving import Race
from tests.sync_world import SyncWorld


def now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass
class Tally:
    """What was counted over the interleavings of one level."""

    races: list[Race] = field(default_factory=list)
    messages: int = 0
    """Losers that ended with a message that says what, whose and what to do."""

    def add(self, race: Race, *, message: str | None = None) -> None:
        """Count a race; every error in it must read as told."""
        for error in race.errors:
            assert message is not None and re.fullmatch(message, str(error)), repr(error)
        self.races.append(race)
        self.messages += len(race.errors)

    @property
    def count(self) -> int:
        """How many races there were, all different and none one after another."""
        assert len({race.order for race in self.races}) == len(self.races), "each has an order of its own"
        assert all(race.switches for race in self.races), "none ran one after another"
        return len(self.races)

    def losers(self) -> str:
        """Return in words what became of those who came second."""
        waits = sum(race.waits for race in self.races)
        return f"losers waited {waits} times, {self.messages} ended with a clear message"


@dataclass
class Alone:
    """What one run leaves and costs when nobody disturbs it."""

    state: dict[str, list[tuple[Any, ...]]]
    calls: int
    pages: int


class Day(SyncWorld):
    """A provider whose day is run by two at once, with AMOP at its end."""

    amop: RunningAmop
    client_of_amop: AmopClient

    def forget(self) -> None:
        """Empty everything that a day leaves, at AMOP too."""
        self.forget_days()
        self.forget_sessions()
        self.carrier.reset_stats()
        self.amop.clear_messages()

    def forget_sessions(self) -> None:
        """Remove sessions, their instances and every message."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("UPDATE amop.device_sync_run SET optimization_session_id = NULL")
            for table in ("amop_outbox", "optimization_instance", "optimization_session"):
                connection.execute(f"DELETE FROM amop.{table}")  # type: ignore[arg-type]

    def deliver(self) -> DeliveryReport:
        """Do what a relay does."""
        return deliver_outbox(self.dsn, self.client_of_amop, now=now)

    def whole(self, name: str) -> Callable[[], int]:
        """Return a day of a DAG run of this name, up to its messages, as its tasks do it."""

        def work() -> int:
            run_id = self.open(name, optimization="always")
            self.stage(run_id)
            self.merge(run_id)
            self.deliver()
            return run_id

        return work

    def optimization(self, session_id: int | None, run_id: str = "session") -> Callable[[], int]:
        """Return an optimization of a session, as the tasks of its DAG run do it."""

        def work() -> int:
            request = OptimizationRequest(
                "jasper", f"carrier_optimization_jasper/{run_id}", 1, optimization_session_id=session_id
            )
            opened = open_instance(self.dsn, request, now=now())["instance_id"]
            optimization_inputs.group_communication_plans(self.dsn, opened)
            optimization_inputs.validate_groups(self.dsn, opened, now=now())
            optimization_inputs.project_usage(self.dsn, opened)
            for step in (
                carrier_optimization.assign_base, carrier_optimization.solve, carrier_optimization.write_results,
            ):  # fmt: skip
                step(self.dsn, opened)
            carrier_optimization.publish_report(self.dsn, opened, now=now())
            self.deliver()
            return opened

        return work

    def results(self) -> list[dict[str, Any]]:
        """Return the results of the optimization, by SIM."""
        return self.rows(
            "SELECT device.iccid, result.from_rate_plan, result.to_rate_plan, result.from_cost, result.to_cost"
            " FROM amop.optimization_device_result AS result"
            " JOIN amop.device AS device ON device.id = result.device_id ORDER BY 1"
        )

    def different_rows(self, alone: Alone) -> int:
        """Return how many rows stand here and not after a single run, or there and not here.

        Progress messages carry the id of their session, a new one each time; `told` is compared for them.
        """
        state = self.final_state()
        return sum(
            len(set(rows) ^ set(state[table])) + abs(len(rows) - len(state[table]))
            for table, rows in alone.state.items()
            if table != "notices"
        )

    def calls(self) -> int:
        """Return the calls that the carrier counted."""
        return int(self.carrier.stats("api_jasper")["calls"])

    def told(self) -> list[list[Any]]:
        """Return what AMOP took of each session, in the order of its arrival; nothing may be out of order."""
        sessions = list(self.amop.sessions().values())
        assert all(one["order_errors"] == [] for one in sessions)
        return [one["progress"] + one["errors"] for one in sessions]
