"""Enable plan changes in the sandbox world, and read what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from sandbox.carrier.catalogue import ALL_PROVIDERS, PROVIDERS_APPLYING_CHANGES, SYNC_ONLY_PROVIDERS, ServiceProvider
from sandbox.carrier.reference_file import write_reference
from sandbox.world.lifecycle import amop_command
from sandbox.world.world import World

LATEST_CHANGES = """
SELECT DISTINCT ON (session.service_provider_id)
    session.service_provider_id,
    provider.name,
    instance.id AS instance_id,
    instance.changes_status,
    instance.changes_reason,
    instance.changes_decided_by,
    instance.changes_read_count AS reads,
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
"""The latest completed instance of each provider, with its plan changes by outcome.

``confirmed`` counts the changes that a later sync has confirmed.
"""


def enable_plan_changes(world: World) -> None:
    """Load reference data that lets plan changes be applied; see `PROVIDERS_APPLYING_CHANGES`.

    The next start of the world loads the default reference data again, with which optimizations only propose changes.

    Raises:
        RuntimeError: the reference data could not be loaded; the message says why.
    """
    _load(world, PROVIDERS_APPLYING_CHANGES + SYNC_ONLY_PROVIDERS)


@contextmanager
def enabled_plan_changes(world: World) -> Iterator[None]:
    """Enable plan changes within the ``with`` block and load the default reference data afterwards."""
    enable_plan_changes(world)
    try:
        yield
    finally:
        _load(world, ALL_PROVIDERS)


def _load(world: World, providers: tuple[ServiceProvider, ...]) -> None:
    write_reference(world.reference_file, providers)
    done = amop_command(world, "load-reference", str(world.reference_file))
    if done.returncode:
        raise RuntimeError(f"bin/amop load-reference failed: {done.stdout}{done.stderr}")


def latest_changes(warehouse: psycopg.Connection[Any]) -> dict[int, dict[str, Any]]:
    """Return the row of `LATEST_CHANGES` of each provider, by provider id."""
    return {row["service_provider_id"]: row for row in warehouse.execute(LATEST_CHANGES).fetchall()}
