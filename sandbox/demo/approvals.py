"""Approve the plan changes of the demo: one provider's with ``bin/amop``, another's as the Airflow UI does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import psycopg
from rich.console import Console

from amop import ids
from sandbox.carrier.catalogue import PROVIDERS_APPLYING_CHANGES
from sandbox.demo.plan_changes import latest_changes
from sandbox.world.airflow_api import AirflowApi, AirflowApiError
from sandbox.world.lifecycle import amop_command
from sandbox.world.world import World

COMMENT = "approved in the demo"
BY_COMMAND, BY_UI = "command line", "UI"
COMMAND_PROVIDER_ID = 1
"""Provider (Jasper) whose changes are approved from the command line; the others' are approved as the UI does."""
POLL_SECONDS = 0.5
READING_SECONDS = 5
"""Delay before a response. Airflow may fail a deferred task that is resumed while its first process is still being
reaped; the task is then retried and requests approval again, and the first response is lost. A person needs longer than
this to read the request."""


def approve_pending_changes(
    world: World, console: Console, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> dict[int, str]:
    """Print the decision on each provider's changes and approve the pending ones.

    Returns:
        How the changes were approved, `BY_COMMAND` or `BY_UI`, by provider id.

    Raises:
        AirflowApiError: no approval is pending in Airflow, or the response was refused.
        RuntimeError: ``bin/amop approvals`` failed; the message says why.
    """
    approved: dict[int, str] = {}
    latest = latest_changes(warehouse)
    for provider in PROVIDERS_APPLYING_CHANGES:
        row = latest[provider.id]
        console.print(f"{row['name']}: {row['changes']} changes {row['changes_status']}: {row['changes_reason']}")
        if row["changes_status"] != "waiting":
            continue
        approval = wait_for_approval(api, ids.carrier_optimization_dag(provider.integration))
        console.print(f"  approval requested: {approval['subject']}")
        if provider.id == COMMAND_PROVIDER_ID:
            _approve_by_command(world, console, approval)
            approved[provider.id] = BY_COMMAND
        else:
            response = api.respond(approval, ids.APPROVE, **{ids.APPROVAL_COMMENT: COMMENT})
            user = (response.get("responded_by") or {}).get("name")
            console.print(f"  Required Actions page: {ids.APPROVE} {_run_of(approval)} by {user}")
            approved[provider.id] = BY_UI
    return approved


def _approve_by_command(world: World, console: Console, approval: dict[str, Any]) -> None:
    command = ("approvals", "approve", _run_of(approval), "--comment", COMMENT)
    done = amop_command(world, *command)
    if done.returncode:
        raise RuntimeError(f"bin/amop {' '.join(command)} failed: {done.stderr}")
    console.print(f"  $ bin/amop {' '.join(command[:3])} --comment '{COMMENT}'\n  {done.stdout.strip()}")


def _run_of(approval: dict[str, Any]) -> str:
    task = approval["task_instance"]
    return f"{task['dag_id']}/{task['dag_run_id']}"


def wait_for_approval(
    api: AirflowApi, dag_id: str, *, except_runs: Iterable[str] = (), seconds: float = 300
) -> dict[str, Any]:
    """Wait until an approval of a DAG is pending, plus the time to read it, and return it.

    Args:
        api: the Airflow to poll.
        dag_id: DAG that requests the approval.
        except_runs: run ids to ignore.
        seconds: timeout.

    Returns:
        The approval, as `AirflowApi.respond` takes it.

    Raises:
        AirflowApiError: no approval is pending before the timeout.
    """
    deadline, ignored = time.monotonic() + seconds, set(except_runs)
    while time.monotonic() < deadline:
        for approval in api.pending_approvals():
            task = approval["task_instance"]
            if task["dag_id"] == dag_id and task["dag_run_id"] not in ignored:
                time.sleep(READING_SECONDS)
                return approval
        time.sleep(POLL_SECONDS)
    raise AirflowApiError(f"{dag_id}: no approval was pending within {seconds:.0f} s")
