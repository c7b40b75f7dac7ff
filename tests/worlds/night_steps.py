"""The tasks of a night of one provider, by the use cases under Airflow; for tests. Waits move a simulated clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amop.archive.archive_run import archive_run
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.device_sync import fetch, merge
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run, session_to_optimize
from amop.device_sync.notification import mark_notification_sent, notification_to_send
from amop.device_sync.quality import check_quality
from amop.device_sync.summary import summarize
from amop.messages.amop_client import AmopClient
from amop.messages.delivery import deliver_outbox
from amop.messages.store import ClaimedReport
from amop.messages.undelivered_reports import ReportKind, record_undelivered
from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, open_instance
from amop.plan_changes.apply import apply_changes
from amop.plan_changes.decide import plan_changes
from amop.plan_changes.rules import ChangesStatus
from amop.plan_changes.verify import verify_changes
from amop.runs.opening import SyncRequest, open_runs
from sandbox.amop.running import RunningAmop
from sandbox.carrier.running import RunningCarrier
from tests.worlds.night_outcome import API_USER
from tests.worlds.seeded_faults import (
    FAULTY_NIGHTS,
    Fault,
    Kind,
    Step,
)
from tests.worlds.simulated_clock import SimulatedClock

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

FIRST_NIGHT = datetime(2026, 11, 9, 9, tzinfo=UTC)
PROVIDER = 1


class NightEndsError(Exception):
    """The night ends here as it should: nothing is to be optimized, or nothing to be changed."""


class NightSteps:
    """What each task of a night does, on a clock of its own.

    Args:
        server: of the warehouse.
        database: the warehouse.
        folder: of the archive.
        carrier: of the SIMs.
        amop: takes the messages.
        fleet: seed of what happens to the SIMs.
        faults: of all nights.
    """

    def __init__(
        self,
        server: EmbeddedPostgres,
        database: str,
        folder: Path,
        carrier: RunningCarrier,
        amop: RunningAmop,
        fleet: int,
        faults: Sequence[Fault],
    ) -> None:
        self.dsn = server.conninfo(database)
        self._superuser = server.conninfo(database, user="postgres")
        self._crash = server.crash_and_recover
        self._archive: Any = folder
        self._carrier = carrier
        self._amop = amop
        self._dice = random.Random(f"fleet {fleet}")
        self._faults = faults
        self._number = 0
        self._now = FIRST_NIGHT
        self._clock = SimulatedClock()
        self._fails: dict[Step, int] = {}
        self._counts: dict[tuple[int, Step, str], int] = {}
        self._lost: list[int] = []
        self._problems: list[str] = []
        self._run_id = self._instance_id = self._clear_number = 0
        self._session_id: int | None = None

    def _steps(self) -> list[tuple[Step, Callable[[], Any]]]:
        return [
            (Step.OPEN, self._open),
            (Step.QUEUE, lambda: fetch.queue_sync(self.dsn, self._run_id)),
            (Step.DEVICES, lambda: self._fetch(fetch.fetch_devices)),
            (Step.USAGE, lambda: self._fetch(fetch.fetch_usage)),
            (Step.ARCHIVE, lambda: self._report(ReportKind.ARCHIVE, self._write_archive)),
            (Step.NOTIFY, lambda: self._report(ReportKind.NOTIFICATION, self._notify)),
            (Step.MERGE, lambda: merge.merge_devices(self.dsn, self._run_id, now=self._worker_time)),
            (Step.MERGE_USAGE, lambda: merge.merge_usage(self.dsn, self._run_id, now=self._worker_time)),
            (
                Step.COMMUNICATION_PLANS,
                lambda: update_communication_plans(self.dsn, self._run_id, now=self._worker_time),
            ),
            (Step.QUALITY, lambda: check_quality(self.dsn, self._run_id)),
            (Step.SUMMARY, lambda: summarize(self.dsn, self._run_id)),
            (Step.COMPLETE, lambda: complete_run(self.dsn, self._run_id, now=self._worker_time)),
            (Step.INSTANCE, self._open_instance),
            (Step.GROUPS, lambda: inputs.group_communication_plans(self.dsn, self._instance_id)),
            (Step.VALIDATE, lambda: inputs.validate_groups(self.dsn, self._instance_id, now=self._worker_time)),
            (Step.PROJECT, lambda: inputs.project_usage(self.dsn, self._instance_id)),
            (Step.BASE, lambda: solve.assign_base(self.dsn, self._instance_id)),
            (Step.SOLVE, lambda: solve.solve(self.dsn, self._instance_id)),
            (Step.RESULTS, lambda: results.write_results(self.dsn, self._instance_id)),
            (Step.REPORT, lambda: results.publish_report(self.dsn, self._instance_id, now=self._worker_time)),
            (Step.CHANGES, self._plan_changes),
            (Step.APPLY, self._apply),
            (Step.VERIFY, self._verify),
            (Step.DELIVER, self._deliver),
        ]

    def _fixed(self) -> datetime:
        return self._worker_time

    @property
    def _worker_time(self) -> datetime:
        """The present time on the clock of the worker, which may be wrong."""
        return self._now + timedelta(seconds=sum(fault.seconds for fault in self._of_night(Kind.CLOCK)))

    def _request(self, dag_run_id: str) -> SyncRequest:
        wanted = "always" if self._number < FAULTY_NIGHTS else "never"
        return SyncRequest("jasper", "device_sync_jasper", dag_run_id, optimization=wanted)

    def _open(self) -> None:
        (run,) = open_runs(self.dsn, self._request(f"night {self._number}"), now=self._now)
        self._run_id, self._session_id = run.run_id, run.optimization_session_id

    @contextmanager
    def _client(self, *, may_write: bool = False) -> Iterator[ControlCenterClient]:
        account = CarrierAccount.from_connection_fields(
            connection_id="carrier_jasper",
            service_provider_name="AT&T Control Center",
            host=self._carrier.base_url,
            schema=None,
            port=None,
            login=API_USER,
            password=self._carrier.api_key,
            extra={"calls_per_second": 1000},
        )
        gate = _Gate(self.dsn, account.gate_key, account.calls_per_second, self._clock)
        times: dict[str, Any] = {
            "sleep": self._clock.sleep,
            "clock": self._clock.now,
            "monotonic": self._clock.monotonic,
        }
        with ControlCenterClient(account, gate, may_write=may_write, **times) as client:
            yield client

    def _fetch(self, use_case: Callable[..., Any]) -> None:
        with self._client() as client:
            use_case(self.dsn, self._run_id, client, clock=self._fixed)

    def _report(self, kind: ReportKind, deliver: Callable[[int], None]) -> None:
        """Deliver a report as its task does: a failure is recorded for the relay."""
        try:
            deliver(self._run_id)
        except Exception as error:
            record_undelivered(self.dsn, kind, error, run_id=self._run_id, now=self._now)

    def _write_archive(self, run_id: int) -> None:
        if self._is_away(Step.ARCHIVE, Kind.ARCHIVE):
            raise OSError("the archive is away (simulated)")
        archive_run(self.dsn, run_id, self._archive, only_complete=True, now=self._now)

    def _notify(self, run_id: int) -> None:
        if notification_to_send(self.dsn, run_id) is None:
            return
        if self._is_away(Step.NOTIFY, Kind.QUEUE):
            raise ConnectionError("the notification queue is away (simulated)")
        mark_notification_sent(self.dsn, run_id, now=self._now)

    def _is_away(self, step: Step, kind: Kind) -> bool:
        """Return whether this try of a step meets an outage: one try for each fault of the night."""
        tries = self._fails.get(step, 0)
        self._fails[step] = tries + 1
        return tries < len(self._of_night(kind))

    def _open_instance(self) -> None:
        self._deliver()
        session = session_to_optimize(self.dsn, self._run_id)
        if session is None:
            raise NightEndsError
        self._session_id = session.optimization_session_id
        request = OptimizationRequest(
            "jasper",
            f"carrier_optimization_jasper/session_{self._session_id}",
            PROVIDER,
            optimization_session_id=self._session_id,
        )
        self._instance_id = open_instance(self.dsn, request, now=self._now)["instance_id"]

    def _plan_changes(self) -> None:
        status = plan_changes(
            self.dsn,
            self._instance_id,
            call_rate=lambda *_: 5.0,
            planned_by=f"night {self._number}",
            can_wait=False,
            now=self._now,
        )
        if status not in {ChangesStatus.APPROVED, ChangesStatus.STOPPED, ChangesStatus.APPLIED}:
            raise NightEndsError

    def _apply(self) -> None:
        with self._client(may_write=True) as client:
            apply_changes(
                self.dsn,
                self._instance_id,
                client,
                calls_per_second=5.0,
                clock=self._clock.now,
                sleep=self._clock.sleep,
            )

    def _verify(self) -> None:
        with self._client() as client:
            verify_changes(self.dsn, self._instance_id, client, clock=self._fixed)

    def _deliver(self) -> None:
        with self._amop_client() as client:
            deliver_outbox(self.dsn, client, now=self._clock.now)

    def _amop_client(self) -> AmopClient:
        fields = {"progress_path": self._amop.progress_path, "sync_path": self._amop.sync_path}
        return AmopClient.from_connection_fields(
            host=self._amop.base_url, schema=None, port=None, password=None, extra=fields
        )

    def _deliveries(self) -> dict[ReportKind, Callable[[ClaimedReport], None]]:
        return {
            ReportKind.ARCHIVE: lambda report: self._write_archive(report.run_id or 0),
            ReportKind.NOTIFICATION: lambda report: self._notify(report.run_id or 0),
        }

    def _of_night(self, *kinds: Kind) -> list[Fault]:
        return [fault for fault in self._faults if fault.night == self._number and fault.kind in kinds]


class _Gate(PostgresCallGate):
    """A gate whose waits move the simulated clock and that of its database session."""

    def __init__(self, dsn: str, key: str, calls_per_second: float, clock: SimulatedClock) -> None:
        super().__init__(dsn, key, calls_per_second, sleep=self._wait, clock=clock.now)
        self._simulated = clock

    def _wait(self, seconds: float) -> None:
        self._simulated.sleep(seconds)
        # PostgreSQL's own clock holds the pause that the carrier asked for.
        self._connected().execute(
            "SELECT set_config('test_clock.ahead', (substring(current_setting('test_clock.ahead') FROM '^-?[0-9.]+')"
            "::numeric + %s)::text || ' seconds', false)",
            [seconds],
        )
