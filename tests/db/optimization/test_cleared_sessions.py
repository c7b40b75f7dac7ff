"""Optimizations that an operator clears: a failed session gets a successor, a complete one has nothing to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amop.database.connection import transaction
from amop.optimization.instances import OptimizationRequest, open_instance
from amop.runs.sessions import SessionEndedError, complete_session, fail_session, open_session, session_is_complete
from tests.worlds.optimization_world import NOW, OptimizationWorld

REQUEST = OptimizationRequest("jasper", "carrier_optimization_jasper/manual", 1)


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    return OptimizationWorld(warehouse_dsn)


def sessions(world: OptimizationWorld) -> list[tuple[str, str, int]]:
    """Return opener, status and progress of all sessions, oldest first."""
    found = world.execute("SELECT opened_by, status, progress FROM amop.optimization_session ORDER BY id")
    return [(row["opened_by"], row["status"], row["progress"]) for row in found]


def test_a_cleared_run_whose_session_failed_opens_one_new_session(world: OptimizationWorld) -> None:
    first = open_instance(world.dsn, REQUEST, now=NOW)
    with transaction(world.dsn) as connection:
        fail_session(connection, first["session_id"], "no rate plans", now=NOW)
    cleared = replace(REQUEST, clear_number=1)
    second, again = (open_instance(world.dsn, cleared, now=NOW) for _ in range(2))
    assert second == again and second["instance_id"] != first["instance_id"]
    assert sessions(world) == [(REQUEST.opened_by, "failed", 20), (f"{REQUEST.opened_by}#2", "running", 20)]
    told = world.execute("SELECT payload FROM amop.amop_outbox WHERE session_id = %s ORDER BY id", second["session_id"])
    assert [message["payload"]["data"]["Progress"] for message in told] == [0, 20]


def test_a_task_that_airflow_repeats_does_not_replace_a_failed_session(world: OptimizationWorld) -> None:
    first = open_instance(world.dsn, REQUEST, now=NOW)
    with transaction(world.dsn) as connection:
        fail_session(connection, first["session_id"], "no rate plans", now=NOW)
    with pytest.raises(SessionEndedError, match="is failed"):
        open_instance(world.dsn, REQUEST, now=NOW)
    assert len(sessions(world)) == 1


def test_a_session_that_failed_before_its_optimization_began_is_replaced_unless_there_is_a_later_one(
    world: OptimizationWorld,
) -> None:
    opened = {"service_provider_id": 1, "billing_period_id": world.billing_period_id, "now": NOW}
    with transaction(world.dsn) as connection:
        failed = open_session(connection, **opened, opened_by="device_sync_jasper/monday")
        fail_session(connection, failed.id, "its DAG run ended in Airflow", now=NOW)
    of_sync = replace(REQUEST, opened_by="carrier_optimization_jasper/session_1", optimization_session_id=failed.id)
    found = open_instance(world.dsn, of_sync, now=NOW)
    assert found["session_id"] != failed.id
    assert sessions(world)[1] == ("carrier_optimization_jasper/session_1#1", "running", 20)
    with transaction(world.dsn) as connection:
        fail_session(connection, found["session_id"], "no rate plans", now=NOW)
    with pytest.raises(SessionEndedError, match="its DAG run ended in Airflow"):
        open_instance(world.dsn, of_sync, now=NOW)


def test_a_cleared_run_whose_session_is_complete_has_nothing_to_do(world: OptimizationWorld) -> None:
    first = open_instance(world.dsn, REQUEST, now=NOW)
    with transaction(world.dsn) as connection:
        complete_session(connection, first["session_id"], now=NOW)
    assert open_instance(world.dsn, replace(REQUEST, clear_number=1), now=NOW) == first
    assert session_is_complete(world.dsn, first["session_id"])
    assert len(sessions(world)) == 1
