"""The nights of one provider with the faults that are to happen in them, by the use cases under Airflow; for tests.

Airflow's part is played here: a failed step is tried again, a task that waits for the carrier resumes when the carrier
may be called, a failed run is recorded, and an operator clears it. No time passes: waits move a simulated clock.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from amop.archive.archive_run import archive_run
from amop.archive.replay import ReplayRequest, replay_day
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import CarrierUnavailableError
from amop.clock import Clock
from amop.database.connection import transaction
from amop.device_sync import fetch, merge
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run, session_to_optimize
from amop.device_sync.notification import mark_notification_sent, notification_to_send
from amop.device_sync.quality import check_quality
from amop.device_sync.summary import summarize
from amop.maintenance import watchdog
from amop.messages.amop_client import AmopClient
from amop.messages.delivery import deliver_outbox
from amop.messages.store import ClaimedReport
from amop.messages.undelivered_reports import ReportKind, deliver_reports, record_undelivered
from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, open_instance
from amop.plan_changes.apply import apply_changes, verify_changes
from amop.plan_changes.decide import plan_changes
from amop.plan_changes.rules import ChangesStatus
from amop.runs.errors import MergeRefusedError, PipelineError
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.reopening import resume_run
from amop.runs.sessions import end_instance_of_failed_session, fail_session
from amop.runs.sync_runs import end_run, load_run
from amop.tasks.retries import FINAL_ERRORS
from sandbox.amop.running import RunningAmop
from sandbox.carrier.catalogue import provider_of
from sandbox.carrier.running import RunningCarrier
from tests.worlds.faulty_process import FaultyProcess, Killed
from tests.worlds.moments import SimulatedDatetime, machine_time, set_database_clock
from tests.worlds.night_outcome import API_USER, Outcome, compared, violations
from tests.worlds.seeded_faults import (
    FAULTY_NIGHTS,
    SYNC_STEPS,
    Fault,
    Kind,
    Step,
)
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.warehouse_rows import rows_of_every_table

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

FIRST_NIGHT = datetime(2026, 11, 9, 9, tzinfo=UTC)
NIGHTS = FAULTY_NIGHTS + 1
SIMS = 40
PROVIDER = 1
TIME_ZONE = "America/New_York"
TRIES = 4
"""Of a step, as `amop.tasks.retries` has it."""
CLEARS = 2
"""Times that the operator clears a failed step of a night."""
PLANS = ("ATT 25 MB", "ATT 100 MB", "ATT 500 MB")


_IN_PROCESS = (Kind.KILL, Kind.CUT, Kind.DISK, Kind.CRASH)


class StepFailedError(Exception):
    """A step has failed for good; the run or the session has the reason."""


class _NightEndsError(Exception):
    """The night ends here as it should: nothing is to be optimized, or nothing to be changed."""


class ProviderNights:
    """The provider's nights in one warehouse."""

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

    def run(self, number: int) -> None:
        """Run a night with its faults, as far as it gets."""
        self._number, self._now = number, FIRST_NIGHT + timedelta(days=number)
        SimulatedDatetime.offset = self._now - machine_time()
        set_database_clock(self._superuser)
        self._clock = SimulatedClock()
        self._fails = {}
        self._run_id, self._session_id, self._instance_id, self._clear_number = 0, None, 0, 0
        restore = self._change_carrier()
        clears = 0
        steps = self._steps()
        position = 0
        try:
            while position < len(steps):
                step, work = steps[position]
                try:
                    self._before(step)
                    self._run_step(step, work)
                    position += 1
                except StepFailedError:
                    clears += 1
                    if clears > CLEARS or step not in SYNC_STEPS:
                        self._lost.append(number)
                        break
                    restore()
                    if not self._clear():
                        self._lost.append(number)
                        break
                except _NightEndsError:
                    break
        finally:
            restore()
            self._carrier.clear_faults()
            self._amop.recover()
        self._relay()

    def _change_carrier(self) -> Callable[[], None]:
        """Let a day pass at the carrier; return the function that ends what the faults of this night break there."""
        dice, carrier = self._dice, self._carrier
        carrier.use_until(self._now, account=API_USER)
        truth = carrier.truth(API_USER)["devices"]
        active = [sim["iccid"] for sim in truth if sim["status"] == "ACTIVATED"]
        moved, stopped = dice.sample(active, 2)
        plan = provider_of("jasper").rate_plan(dice.choice(PLANS))
        carrier.change_devices([moved], account=API_USER, rate_plan=plan.rate_plan_code, rate_plan_version=plan.version)
        if self._number:
            carrier.change_devices([stopped], account=API_USER, status="DEACTIVATED")
        broken: list[str] = []
        for fault in self._of_night(Kind.RECORD):
            iccid = active[fault.nth % len(active)]
            carrier.change_devices([iccid], account=API_USER, extra=dict(fault.details))
            broken.append(iccid)
        if vanished := self._of_night(Kind.USAGE_VANISHED):
            counters = {
                sim["iccid"]: {name: sim[name] for name in ("data_usage", "roaming_data_usage", "sms_usage")}
                for sim in truth
            }
            carrier.change_devices(list(counters), account=API_USER, data_usage=0, roaming_data_usage=0, sms_usage=0)
        if self._of_night(Kind.KEY):
            carrier.reject_api_key(API_USER)

        def restore() -> None:
            if broken:
                carrier.change_devices(broken, account=API_USER, extra={})
            if vanished:
                for iccid, values in counters.items():
                    carrier.change_devices([iccid], account=API_USER, **values)
            carrier.accept_api_key(API_USER)

        return restore

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

    def _run_step(self, step: Step, work: Callable[[], Any]) -> None:
        """Run a step until it succeeds, as Airflow does.

        Raises:
            StepFailedError: it has failed for good; its run or session has ended.
        """
        faults = [fault for fault in self._of_night(*_IN_PROCESS) if fault.step == step]
        process = FaultyProcess(faults, crash=self._crash)
        tries = 0
        while True:
            try:
                with process.running():
                    work()
                break
            except Killed:
                continue
            except CarrierUnavailableError as error:
                if error.retry_at is None:
                    tries += 1
                    self._give_up_after(tries, step, error)
                else:
                    self._clock.sleep_until(error.retry_at)
            except _NightEndsError:
                raise
            except FINAL_ERRORS as error:
                self._fail(step, error)
            except Exception as error:
                tries += 1
                self._give_up_after(tries, step, error)
        for place, count in process.counts.items():
            self._counts[self._number, step, place] = count

    def _give_up_after(self, tries: int, step: Step, error: Exception) -> None:
        if tries >= TRIES:
            self._fail(step, error)
        self._clock.sleep(10 * 2**tries)

    def _fail(self, step: Step, error: Exception) -> None:
        """Record the failure as `amop.tasks.failures` does."""
        text = str(error) or type(error).__name__
        with transaction(self.dsn, application_name="amop record_failure") as connection:
            if self._instance_id:
                if self._session_id is not None:
                    fail_session(connection, self._session_id, text)
            elif self._run_id:
                status = "refused" if isinstance(error, MergeRefusedError) else "failed"
                end_run(connection, self._run_id, status, text, now=self._now)
        if self._instance_id and self._session_id is not None:
            end_instance_of_failed_session(self.dsn, self._session_id, now=self._now)
        raise StepFailedError(f"{step}: {text}") from error

    def _clear(self) -> bool:
        """Clear the failed step as an operator does: its run resumes where its ledger stands; False if it must not."""
        self._clear_number += 1
        try:
            run = resume_run(self.dsn, self._run_id, clear_number=self._clear_number, now=self._now)
        except PipelineError:
            return False  # it says what to do
        if run is not None:
            self._session_id = run.optimization_session_id
        return True

    def _before(self, step: Step) -> None:
        for fault in self._of_night(Kind.SECOND_RUN, Kind.CLEAR, Kind.REPLAY, Kind.CARRIER, Kind.AMOP):
            if fault.step != step:
                continue
            if fault.kind == Kind.SECOND_RUN:
                self._start_second_run()
            elif fault.kind == Kind.REPLAY:
                self._replay(fault.details["replayed_night"])
            elif fault.kind == Kind.CLEAR:
                self._repeat_until(step)
            elif fault.kind == Kind.CARRIER:
                self._carrier.add_fault(**fault.details)
            else:
                self._amop.fail(**fault.details)

    def _start_second_run(self) -> None:
        if not self._run_id or self._is_complete():
            return
        (second,) = open_runs(self.dsn, self._request(f"second {self._number}"), now=self._now)
        status = self._rows("SELECT status FROM amop.device_sync_run WHERE id = %s", second.run_id)[0][0]
        if status != "refused":
            self._problems.append(f"night {self._number}: a second run of the provider was {status}, not refused")

    def _replay(self, night: int) -> None:
        start = FIRST_NIGHT + timedelta(days=night)
        start = start.replace(hour=4)
        request = ReplayRequest(
            "jasper",
            "device_sync_jasper",
            f"backfill__{start.isoformat()}_{secrets.token_hex(3)}",
            PROVIDER,
            TIME_ZONE,
            start,
            start + timedelta(days=1),
        )
        try:
            replay_day(self.dsn, self._archive, request, clock=self._fixed)
        except MergeRefusedError as error:
            # The merge of a night with a malformed record of so few SIMs is refused, and so is its replay.
            if not any(fault.kind == Kind.RECORD and fault.night == night for fault in self._faults):
                self._problems.append(f"night {self._number}: the replay of night {night} was refused: {error}")

    def _repeat_until(self, step: Step) -> None:
        """Clear every step before this one that has succeeded: each does nothing, or says that nothing is left."""
        for earlier, work in self._steps():
            if earlier == step:
                return
            if earlier in {Step.OPEN, Step.INSTANCE}:
                continue
            try:
                work()
            except PipelineError:
                continue  # it says what to do

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
        archive_run(self.dsn, run_id, self._archive, now=self._now)

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
            raise _NightEndsError
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
            raise _NightEndsError

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

    def _relay(self) -> None:
        """Do what `amop_relay` does until the next night: end what has died, deliver what is left."""
        for minutes in (0, 20, 40, 60):
            moment = self._now + timedelta(hours=1, minutes=minutes)
            watchdog.end_stale_work(self.dsn, now=moment, is_queued=lambda *_: False)
        for hours in (2, 3, 4):
            moment = self._now + timedelta(hours=hours)
            clock: Clock = lambda at=moment: at  # type: ignore[misc]  # noqa: E731
            with self._amop_client() as client:
                deliver_outbox(self.dsn, client, now=clock)
            deliver_reports(self.dsn, self._deliveries(), now=clock, limit=timedelta(days=1))

    def _deliveries(self) -> dict[ReportKind, Callable[[ClaimedReport], None]]:
        return {
            ReportKind.ARCHIVE: lambda report: self._write_archive(report.run_id or 0),
            ReportKind.NOTIFICATION: lambda report: self._notify(report.run_id or 0),
        }

    def _is_complete(self) -> bool:
        with transaction(self.dsn, application_name="test") as connection:
            return load_run(connection, self._run_id).is_complete

    def _of_night(self, *kinds: Kind) -> list[Fault]:
        return [fault for fault in self._faults if fault.night == self._number and fault.kind in kinds]

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement, values or None).fetchall()  # type: ignore[arg-type]

    def outcome(self) -> Outcome:
        """Return what the nights have left, and what is wrong about it."""
        complete = NIGHTS - len(self._lost)
        return Outcome(
            rows=compared(rows_of_every_table(self.dsn)),
            plans={sim["iccid"]: sim["rate_plan"] for sim in self._carrier.truth(API_USER)["devices"]},
            lost_nights=list(self._lost),
            problems=[
                *self._problems,
                *violations(self.dsn, self._carrier, self._amop, complete_nights=complete),
            ],
            counts=self._counts,
        )


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
