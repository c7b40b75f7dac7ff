"""Say what to do first about an error: one rule for ``bin/amop status``, the operators' page and notifications."""

from __future__ import annotations

from amop import ids

CLEAR = "clear the failed task of this provider with its downstream tasks"
RECOVERED = f"wait until the carrier has recovered, then {CLEAR}"
CONTACT = f"contact the carrier; once it is fixed, {CLEAR}"

FIRST_STEPS: tuple[tuple[str, str], ...] = (
    (
        "Clear open_instance with downstream tasks",
        "clear open_instance of that run with downstream tasks, which opens a new session",
    ),
    ("cannot work without the result of", "clear the task that the error names last with downstream tasks"),
    (
        "has not done its work, although a later task has started",
        "clear the task that has not run, which the error names, with its downstream tasks",
    ),
    ("ended in Airflow", CLEAR),
    (
        "the carrier refused the login of connection",
        f"correct login and password of the connection that the error names, then {CLEAR}",
    ),
    ("has no TLS", f"let the host of the connection begin with https://, then {CLEAR}"),
    ("The carrier is failing or", RECOVERED),
    ("the carrier has been failing since", RECOVERED),
    ("The run has made no progress since", RECOVERED),
    ("none is marked as the last page", CONTACT),
    ("holds only SIMs of earlier pages", CONTACT),
    ("in every try", CONTACT),
    ("Nothing older overwrites anything newer", "trigger a new sync; the old run has nothing to add"),
    ("is held by run", "wait for that run; if its process is gone it ends within 45 minutes, then trigger a new sync"),
    (
        "SIMs are missing from a full list for the second time",
        "check the list at the carrier; if it is right, trigger a sync with Full list and Allow mass deactivation",
    ),
    (
        "the carrier's answers are implausible",
        "check the figures at the carrier; if they are right, trigger a sync with Allow implausible answers",
    ),
    (
        "the device list is empty",
        "check the list at the carrier; if it is right, trigger a sync with Allow implausible answers",
    ),
    ("cannot be opened", "remove the cause that the error names, then trigger the sync of this provider"),
    ("The clock of worker", "set the clock of that worker (NTP); the task is tried again on any worker"),
    (
        "sessions do not have the limits that were asked for",
        "let connection amop_warehouse connect to PostgreSQL itself, not to a pooler",
    ),
    ("became more while the device list was read", "trigger a new sync"),
    ("SIMs have bad records in", "run bin/amop quarantine list and contact the carrier about these records"),
    ("the carrier refused the request (", f"have the carrier allow the request that the error names, then {CLEAR}"),
    ("SIMs were listed, but", "report this defect of the package with the id of the run; no data is lost"),
    (
        "One or more Rate Plans have invalid Data per Overage Charge or Overage Rate",
        "correct these rate plans in the reference file, then run bin/amop load-reference",
    ),
    (
        "No Comm Groups and/or Rate Plans for this Instance",
        "map the communication plans to rate plans in the reference file, then run bin/amop load-reference",
    ),
)
"""Text of an error and the first step; `docs/runbook.md` explains each. The first match counts."""

OTHERWISE = "read the log of the failed task, remove the cause, then clear that task with its downstream tasks"
WITHOUT_LOG = f"remove the cause that the error names, then {CLEAR}"
"""The same where Airflow has no log of the task any more."""


CLEAR_OPENING = "clear open_instance of that run with its downstream tasks"
"""The same as `CLEAR` where a session has ended: only a new one can be continued."""
OTHERWISE_OF_SESSION = f"read the log of the failed task, remove the cause, then {CLEAR_OPENING}"
"""The same where a session has ended with the error: only a new one can be continued."""


def first_step(error: str | None, *, new_run: str | None = None, of_session: bool = False) -> str:
    """Return what to do first about the error of a sync or of an optimization, as a clause without a full stop.

    Args:
        error: the error that ended it.
        new_run: command that starts a new run, where the DAG run was deleted in Airflow; None where it can be cleared.
        of_session: True if it has ended a session whose optimization had begun.
    """
    found = next((step for text, step in FIRST_STEPS if text in (error or "")), None)
    if new_run is None and of_session:
        return (found or OTHERWISE_OF_SESSION).replace(CLEAR, CLEAR_OPENING)
    if new_run is None:
        return found or OTHERWISE
    return (found or WITHOUT_LOG).replace(CLEAR, f"trigger a new run: {new_run}")


def new_sync(dag_id: str, service_provider_id: int) -> str:
    """Return the command that starts a sync of one provider."""
    return f"airflow dags trigger {dag_id} --conf '{{\"service_provider_ids\": [{service_provider_id}]}}'"


def new_optimization(integration: str, service_provider_id: int) -> str:
    """Return the command that optimizes one provider."""
    dag_id = ids.carrier_optimization_dag(integration)
    return f"airflow dags trigger {dag_id} --conf '{{\"service_provider_id\": {service_provider_id}}}'"
