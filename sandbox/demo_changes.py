"""What the demo shows of rate plan changes: who agrees to them and how, what the carriers took, what it saved."""

from __future__ import annotations

from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from amop import ids
from sandbox.airflow_api import AirflowApi
from sandbox.catalogue import PROVIDERS_THAT_APPLY
from sandbox.demo_proof import BY_COMMAND, BY_UI, JASPER, carrier_stats, writes
from sandbox.environment import World
from sandbox.plan_changes import amop_command, latest_changes, wait_for_approval

COMMENT = "agreed in the demo"
STATUS_SHOWN = ("Their plan changes", "Realised savings")
"""First words of the tables of ``bin/amop status`` that are shown."""


def give_approvals(
    world: World, console: Console, api: AirflowApi, warehouse: psycopg.Connection[Any]
) -> dict[int, str]:
    """Say what became of each provider's changes, and approve those that wait; return how, by provider id.

    Raises:
        AirflowApiError: the question does not wait in Airflow, or the answer was not taken.
        RuntimeError: the command line refused; the message says why.
    """
    how: dict[int, str] = {}
    latest = latest_changes(warehouse)
    for provider in PROVIDERS_THAT_APPLY:
        row = latest[provider.id]
        console.print(f"{row['name']}: {row['changes']} changes {row['changes_status']}: {row['changes_reason']}")
        if row["changes_status"] != "waiting":
            continue
        question = wait_for_approval(api, ids.carrier_optimization_dag(provider.integration))
        console.print(f"  asked: {question['subject']}")
        run = f"{question['task_instance']['dag_id']}/{question['task_instance']['dag_run_id']}"
        if provider.id == JASPER:
            command = ("approvals", "approve", run, "--comment", COMMENT)
            done = amop_command(world, *command)
            if done.returncode:
                raise RuntimeError(f"bin/amop {' '.join(command)} failed: {done.stderr}")
            console.print(f"  $ bin/amop {' '.join(command[:3])} --comment '{COMMENT}'\n  {done.stdout.strip()}")
            how[provider.id] = BY_COMMAND
        else:
            answer = api.respond(question, ids.APPROVE, **{ids.APPROVAL_COMMENT: COMMENT})
            by = (answer.get("responded_by") or {}).get("name")
            console.print(f"  Required Actions, as the UI answers: {ids.APPROVE} {run} by {by}")
            how[provider.id] = BY_UI
    return how


def changes_table(world: World, latest: dict[int, dict[str, Any]]) -> Table:
    """Return the table of plan changes: who decided, what was sent, what the carrier and the next sync show.

    Args:
        world: whose carrier is asked for the write requests that it got.
        latest: what `latest_changes` gives after the next sync.
    """
    table = Table(title="Rate plan changes", title_justify="left", show_edge=False)
    for column in ("service provider", "decided", "by"):
        table.add_column(column)
    for column in ("proposed", "applied", "refused", "read back", "write requests", "confirmed by the sync"):
        table.add_column(column, justify="right")
    stats = carrier_stats(world)
    for provider in PROVIDERS_THAT_APPLY:
        row = latest[provider.id]
        figures = (
            row["changes"], row["applied"], row["refused"], row["verified"], writes(stats, provider), row["confirmed"],
        )  # fmt: skip
        decided = row["changes_status"] + ("" if provider.write_is_enabled else ", write_is_enabled = false")
        table.add_row(row["name"], decided, row["changes_decided_by"], *(f"{figure:,}" for figure in figures))
    return table


def show_status(world: World, console: Console) -> None:
    """Print what ``bin/amop status`` says of plan changes and savings.

    Raises:
        RuntimeError: it failed; the message says why.
    """
    done = amop_command(world, "status")
    if done.returncode:
        raise RuntimeError(f"bin/amop status failed: {done.stderr}")
    for table in done.stdout.split("\n\n"):
        if table.strip().startswith(STATUS_SHOWN):
            console.print(table.strip("\n") + "\n", soft_wrap=True)
