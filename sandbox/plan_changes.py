"""Plan changes in the sandbox world: let them be applied, answer approvals as people do, and see what came of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from sandbox.airflow_api import AirflowApi, AirflowApiError
from sandbox.catalogue import PROVIDERS_THAT_APPLY, SERVICE_PROVIDERS, ServiceProvider
from sandbox.environment import ROOT, World
from sandbox.fleet import write_reference

POLL_SECONDS = 0.5
SECONDS_TO_READ = 5
"""Nobody answers sooner. Airflow may fail a deferred task that is resumed while its first process is still reaped; the
task is tried again and asks anew, and the answer is lost."""

INSTANCES = """
SELECT DISTINCT ON (session.service_provider_id)
    session.service_provider_id,
    provider.name,
    instance.id AS instance_id,
    instance.changes_status,
    instance.changes_reason,
    instance.changes_decided_by,
    counted.*,
    earlier.before
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
CROSS JOIN LATERAL (
    SELECT
        count(*) AS changes,
        count(*) FILTER (WHERE change.state = 'applied') AS applied,
        count(*) FILTER (WHERE change.state IN ('conflict', 'failed')) AS refused,
        count(*) FILTER (WHERE change.verified_at IS NOT NULL) AS verified,
        count(*) FILTER (WHERE change.state = 'applied' AND device.rate_plan = change.to_rate_plan) AS confirmed
    FROM amop.rate_plan_change AS change
    INNER JOIN amop.device AS device ON change.device_id = device.id
    WHERE change.instance_id = instance.id
) AS counted
CROSS JOIN LATERAL (
    SELECT count(*) AS before
    FROM amop.rate_plan_change AS change
    INNER JOIN amop.device AS device ON change.device_id = device.id
    WHERE
        device.service_provider_id = session.service_provider_id
        AND change.state = 'applied' AND change.instance_id < instance.id
) AS earlier
WHERE instance.run_status = 'complete_with_success'
ORDER BY session.service_provider_id, instance.id DESC
"""
"""The latest completed instance of each provider: what became of its changes, and how many a sync has confirmed."""


def let_changes_be_applied(world: World) -> None:
    """Load reference data with which plan changes are applied; see `PROVIDERS_THAT_APPLY`.

    The next start of the world loads the default ones again, with which optimizations only propose.

    Raises:
        RuntimeError: the reference data could not be loaded; the message says why.
    """
    _load(world, PROVIDERS_THAT_APPLY)


@contextmanager
def changes_are_applied(world: World) -> Iterator[None]:
    """Let plan changes be applied for a while."""
    let_changes_be_applied(world)
    try:
        yield
    finally:
        _load(world, SERVICE_PROVIDERS)


def _load(world: World, providers: tuple[ServiceProvider, ...]) -> None:
    write_reference(world.reference_file, providers)
    done = amop_command(world, "load-reference", str(world.reference_file))
    if done.returncode:
        raise RuntimeError(f"load-reference failed: {done.stdout}{done.stderr}")


def amop_command(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``bin/amop`` in the environment of the world, as an operator on its machine does."""
    return subprocess.run(
        [ROOT / "bin" / "amop", *arguments],
        env=world.environment(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def wait_for_approval(api: AirflowApi, dag_id: str, *, except_runs: Iterable[str] = (), seconds: float = 300) -> Any:
    """Return the approval of a DAG that waits, as `AirflowApi.respond` takes it, when it can have been read.

    Raises:
        AirflowApiError: none waits in time.
    """
    deadline, others = time.monotonic() + seconds, set(except_runs)
    while time.monotonic() < deadline:
        for question in api.pending_approvals():
            task = question["task_instance"]
            if task["dag_id"] == dag_id and task["dag_run_id"] not in others:
                time.sleep(SECONDS_TO_READ)
                return question
        time.sleep(POLL_SECONDS)
    raise AirflowApiError(f"{dag_id}: no approval waits after {seconds:.0f} s")


def latest_changes(warehouse: psycopg.Connection[Any]) -> dict[int, dict[str, Any]]:
    """Return a row of `INSTANCES` for each provider, by its id."""
    return {row["service_provider_id"]: row for row in warehouse.execute(INSTANCES).fetchall()}
