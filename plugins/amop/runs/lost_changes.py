"""Say what became of plan changes that no task in Airflow works on any more, and what to do: one wording for all views.

A DAG run that was to ask for an approval, or to send approved changes, can be deleted; its tasks can be marked, so that
it ends before they have done their work. The watchdog finds both.
"""

from __future__ import annotations

from dataclasses import dataclass

from amop import ids
from amop.runs.first_step import CLEAR, OTHERWISE, first_step, new_optimization


@dataclass(frozen=True, slots=True)
class ChangesRun:
    """The DAG run with the plan changes of a session, as the watchdog last found it."""

    integration: str
    service_provider_id: int
    session_id: int
    is_deleted: bool
    """True if Airflow no longer has it."""
    has_ended: bool
    """True if it has ended before the changes were answered or sent."""

    def task(self, task_id: str) -> str:
        """Return a task of the run, as a person finds it in Airflow."""
        return f"{task_id} of session {self.session_id} in {ids.carrier_optimization_dag(self.integration)}"

    @property
    def optimize_again(self) -> str:
        """What to do where nothing of the run can be cleared."""
        return f"optimize again: {new_optimization(self.integration, self.service_provider_id)}"


def approval_loss(run: ChangesRun) -> str | None:
    """Return why an approval request can no longer be answered, as a clause; None if it can."""
    if run.is_deleted:
        return "its request was deleted with its run in Airflow"
    return "its run has ended in Airflow without an answer" if run.has_ended else None


def approval_step(run: ChangesRun) -> str:
    """Return what to do about an approval request, as a clause."""
    if run.is_deleted:
        return run.optimize_again
    if run.has_ended:
        return f"clear {run.task(ids.APPROVE_CHANGES_TASK)} with its downstream tasks, which asks again"
    return "approve or reject it, on the page AMOP or by bin/amop approvals"


def sending_loss(run: ChangesRun) -> str | None:
    """Return why nothing sends the rest of the approved changes, as a clause; None if a task may be sending them."""
    if run.is_deleted:
        return "its run was deleted in Airflow"
    return "its run has ended in Airflow before it had sent them" if run.has_ended else None


def sending_step(run: ChangesRun, *, is_stopped: bool, reason: str | None) -> str:
    """Return what to do about approved plan changes that were not sent, as a clause.

    Args:
        run: their DAG run.
        is_stopped: True if the task that sends them has stopped with an error.
        reason: that error.
    """
    if run.is_deleted:
        return f"remove the cause, then {run.optimize_again}" if is_stopped else run.optimize_again
    task = run.task(ids.APPLY_CHANGES_TASK)
    clear = f"clear {task} with its downstream tasks, which sends the others"
    if is_stopped:
        step = first_step(reason)
        return f"remove the cause, then {clear}" if step == OTHERWISE else step.replace(CLEAR, clear)
    if run.has_ended:
        return clear
    return f"see whether {task} waits for the carrier; otherwise clear it with its downstream tasks"
