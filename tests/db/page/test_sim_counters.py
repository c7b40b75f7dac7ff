"""What a SIM shows where a counter was not read, and where no optimization placed it."""

from __future__ import annotations

from typing import Any

import pytest

from amop.database.connection import connect
from amop.page.sim import SimView, read_sim
from amop.page.table import as_csv
from amop.web.rendering import cell
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.optimization_world import MEGABYTE, NOW, OptimizationWorld
from tests.worlds.page_world import set_database_moment


@pytest.fixture
def world(warehouse_dsn: str, postgres_server: EmbeddedPostgres) -> OptimizationWorld:
    set_database_moment(postgres_server, warehouse_dsn, NOW)
    return OptimizationWorld(warehouse_dsn)


def read(world: OptimizationWorld, device_id: int) -> SimView:
    with connect(world.dsn) as connection:
        view = read_sim(connection, device_id, integrations=["jasper"], orders={})
    assert view is not None
    return view


def shown(world: OptimizationWorld, **columns: Any) -> tuple[list[int | None], str, str, str]:
    """Return messages, voice and sessions of a SIM, and its messages by day: in the table and in both CSV files."""
    sim = world.add_sim("8901", None, None, 1, **columns)
    world.insert_usage(sim, MEGABYTE)
    world.execute("UPDATE amop.device_usage SET sms_usage = %s", columns.get("ctd_sms_usage", 0))
    view = read(world, sim)
    (column,) = (each for each in view.days.columns if each.name == "messages")
    counters = [view.stored.ctd_sms_usage, view.stored.ctd_voice_usage, view.stored.ctd_session_count]
    day, cycle = (text.splitlines()[1].split(",") for text in (as_csv(view.days), as_csv(view.cycles)))
    return counters, str(cell(column, view.days.rows[0], "USD")), day[2], cycle[3]


def test_counters_that_were_not_read_are_not_shown_as_0(world: OptimizationWorld) -> None:
    unread = ([None, None, None], '<span class="none">not read</span>', "not read", "not read")
    assert shown(world, sms_is_read=False, voice_is_read=False) == unread


def test_counters_that_were_read_as_0_are_0(world: OptimizationWorld) -> None:
    read_as_0 = {"sms_is_read": True, "voice_is_read": True, "ctd_session_count": 2}
    assert shown(world, **read_as_0) == ([0, 0, 2], "0", "0", "0")


def test_a_counter_that_was_kept_because_its_reading_was_not_believed_is_shown(world: OptimizationWorld) -> None:
    assert shown(world, sms_is_read=False, ctd_sms_usage=3)[0][0] == 3


def test_a_sim_that_was_not_placed_is_not_said_to_be_covered_by_no_optimization(world: OptimizationWorld) -> None:
    world.add_rate_plan("Small", "1", "10")
    world.add_communication_plan("Tracking", ["Small"])
    world.add_sim("8902", "Tracking", "Small", 1)
    sim = world.add_sim("8903", "Unmapped", "Small", 1)
    assert (
        read(world, sim).options.empty == read(world, sim).sentences[0] == "No optimization has covered this SIM yet."
    )
    row = world.optimize()
    view = read(world, sim)
    assert view.sentences[0].startswith(f"Session {row['session_id']} did not place this SIM.")
    assert view.options.empty == "Plans are compared for a SIM that an optimization has placed."
