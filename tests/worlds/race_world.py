"""Races between our own processes: what two of them do at once, what one leaves alone, and a tally; for tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from amop.messages.amop_client import AmopClient
from amop.messages.delivery import DeliveryReport, deliver_outbox
from amop.optimization import inputs as optimization_inputs
from amop.optimization import results, solve
from amop.optimization.instances import OptimizationRequest, open_instance
from sandbox.amop.running import RunningAmop
from tests.worlds.interleaving import Race
from tests.worlds.moments import present
from tests.worlds.sync_world import SyncWorld


@dataclass
class Tally:
    """What was counted over the interleavings of one level."""

    races: list[Race] = field(default_factory=list)
    messages: int = 0
    """Losers that ended with a message about the run, its provider and the action."""

    def add(self, race: Race, *, message: str | None = None) -> None:
        """Count a race; every error in it must match the pattern `message`."""
        for error in race.errors:
            assert message is not None and re.fullmatch(message, str(error)), repr(error)
        self.races.append(race)
        self.messages += len(race.errors)

    @property
    def count(self) -> int:
        """The number of races, all with different interleavings and none sequential."""
        assert len({race.order for race in self.races}) == len(self.races), "every race has its own order"
        assert all(race.switches for race in self.races), "no race was sequential"
        return len(self.races)

    def losers(self) -> str:
        """Describe how the losers ended."""
        waits = sum(race.waits for race in self.races)
        return f"losers waited {waits} times, {self.messages} ended with a clear message"


@dataclass
class Alone:
    """Rows and calls of one undisturbed run."""

    state: dict[str, list[tuple[Any, ...]]]
    calls: int
    pages: int


class Day(SyncWorld):
    """A provider and its AMOP; two processes run the same day at once."""

    amop: RunningAmop
    client_of_amop: AmopClient

    def reset(self) -> None:
        """Delete everything that a day leaves, in AMOP too."""
        self.delete_days()
        self.delete_sessions()
        self.carrier.reset_stats()
        self.amop.clear_messages()

    def delete_sessions(self) -> None:
        """Delete sessions, their instances and all messages."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("UPDATE amop.device_sync_run SET optimization_session_id = NULL")
            for table in ("amop_outbox", "optimization_instance", "optimization_session"):
                connection.execute(f"DELETE FROM amop.{table}")  # type: ignore[arg-type]

    def deliver(self) -> DeliveryReport:
        """Deliver the outbox as the relay does."""
        return deliver_outbox(self.dsn, self.client_of_amop, now=present)

    def whole(self, name: str) -> Callable[[], int]:
        """Return the work of a DAG run of this name, from opening it to its messages."""

        def work() -> int:
            run_id = self.open(name, optimization="always")
            self.stage(run_id)
            self.merge(run_id)
            self.deliver()
            return run_id

        return work

    def optimization(self, session_id: int | None, run_id: str = "session") -> Callable[[], int]:
        """Return the work of the optimization of a session."""

        def work() -> int:
            request = OptimizationRequest(
                "jasper", f"carrier_optimization_jasper/{run_id}", 1, optimization_session_id=session_id
            )
            opened = open_instance(self.dsn, request, now=present())["instance_id"]
            optimization_inputs.group_communication_plans(self.dsn, opened)
            optimization_inputs.validate_groups(self.dsn, opened, now=present())
            optimization_inputs.project_usage(self.dsn, opened)
            for step in (
                solve.assign_base,
                solve.solve,
                results.write_results,
            ):
                step(self.dsn, opened)
            results.publish_report(self.dsn, opened, now=present())
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
        """Return the number of rows that differ from those of a single run.

        Progress messages carry the id of their session, a new one each time; `reported` is compared for them.
        """
        state = self.final_state()
        return sum(
            len(set(rows) ^ set(state[table])) + abs(len(rows) - len(state[table]))
            for table, rows in alone.state.items()
            if table != "notices"
        )

    def calls(self) -> int:
        """Return the number of calls that the carrier received."""
        return int(self.carrier.stats("api_jasper")["calls"])

    def reported(self) -> list[list[Any]]:
        """Return the messages of each session in order of arrival; none may be out of order."""
        sessions = list(self.amop.sessions().values())
        assert all(one["order_errors"] == [] for one in sessions)
        return [one["progress"] + one["errors"] for one in sessions]
