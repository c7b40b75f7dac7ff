"""The nights of one provider with the faults that are to happen in them, by the use cases under Airflow; for tests.

Airflow's part is played here: a failed step is tried again, a task that waits for the carrier resumes when the carrier
may be called, a failed run is recorded, and an operator clears it. No time passes: waits move a simulated clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from amop.archive.replay import ReplayRequest, replay_day
from amop.carriers.errors import CarrierUnavailableError
from amop.clock import Clock
from amop.database.connection import transaction
from amop.maintenance import watchdog
from amop.messages.delivery import deliver_outbox
from amop.messages.undelivered_reports import deliver_reports
from amop.runs.errors import MergeRefusedError, PipelineError
from amop.runs.opening import open_runs
from amop.runs.reopening import resume_run
from amop.runs.sessions import end_instance_of_failed_session, fail_session
from amop.runs.sync_runs import end_run, load_run
from amop.tasks.retries import FINAL_ERRORS
from sandbox.carrier.catalogue import provider_of
from tests.worlds.faulty_process import FaultyProcess, Killed
from tests.worlds.moments import SimulatedDatetime, machine_time, set_database_clock
from tests.worlds.night_outcome import API_USER, Outcome, compared, violations
from tests.worlds.night_steps import FIRST_NIGHT, PROVIDER, NightEndsError, NightSteps
from tests.worlds.seeded_faults import (
    FAULTY_NIGHTS,
    SYNC_STEPS,
    Kind,
    Step,
)
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.warehouse_rows import rows_of_every_table

if TYPE_CHECKING:
    pass

NIGHTS = FAULTY_NIGHTS + 1
SIMS = 40
TIME_ZONE = "America/New_York"
TRIES = 4
"""Of a step, as `amop.tasks.retries` has it."""
CLEARS = 2
"""Times that the operator clears a failed step of a night."""
PLANS = ("ATT 25 MB", "ATT 100 MB", "ATT 500 MB")


_IN_PROCESS = (Kind.KILL, Kind.CUT, Kind.DISK, Kind.CRASH)


class StepFailedError(Exception):
    """A step has failed for good; the run or the session has the reason."""


class ProviderNights(NightSteps):
    """The provider's nights in one warehouse."""

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
                except NightEndsError:
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
            except NightEndsError:
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

    def _is_complete(self) -> bool:
        with transaction(self.dsn, application_name="test") as connection:
            return load_run(connection, self._run_id).is_complete

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
