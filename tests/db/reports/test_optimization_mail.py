"""The report e-mail of an optimization, from the tables: its figures, its dates, and that it goes out once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from amop.optimization.instances import add_warning
from amop.reports.mail import MailSettingsError, mail_to_send, reason_not_mailed
from amop.reports.report import set_mailed
from amop.runs.errors import PipelineError
from tests.worlds.optimization_world import NOW, OptimizationWorld

SETTINGS = {"sender": "optimization@amop.example", "recipients": "a@amop.example; b@amop.example"}


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "1005.5", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(3):
        world.add_sim(f"890117000000000000{number}", "Tracking", "Large", 2)
    world.add_sim("8901170000000000009", None, "Large", 2)
    return world


def text_of(world: OptimizationWorld, instance_id: int, **settings: Any) -> str:
    mail = mail_to_send(world.dsn, instance_id, **(SETTINGS | {"links": {}} | settings))
    body = mail.get_body(("plain",))
    assert body is not None
    return f"{mail['Subject']}\n{body.get_content()}"


def test_it_tells_totals_savings_proof_dates_and_links(world: OptimizationWorld) -> None:
    world.insert(
        "device_sync_run",
        service_provider_id=1,
        dag_id="d",
        dag_run_id="r",
        status="complete",
        is_full=True,
        billing_period_id=world.billing_period_id,
        usage_as_of=NOW - timedelta(hours=2),
        usage_merged_at=NOW,
        ended_at=NOW - timedelta(hours=1),
    )
    instance = world.optimize()
    lines = [
        " ".join(line.split()) for line in text_of(world, instance["id"], links={"Run": "http://x/y"}).splitlines()
    ]
    for line in (
        "Rate plan optimization: AT&T, 2026-11, saves USD 3,013.50 (74.9%)",
        "Acme IoT, billing period 2026-10-18 18:00 America/New_York to 2026-11-18 18:00 America/New_York",
        "Cost of the present rate plans USD 4,022.00",
        "Cost of the optimized rate plans USD 1,008.50",
        "Savings USD 3,013.50 (74.9%)",
        "Proven lower bound of the cost USD 1,008.50",
        "Gap to the lower bound 0.0000%",
        "Plan changes proposed 3",
        "SIMs placed, of SIMs expected 3 of 4",
        "The carrier gives it no communication plan: 1 SIM",
        "Last complete device sync 2026-11-03 04:30 America/New_York",
        "Usage last read from the carrier 2026-11-03 03:30 America/New_York",
        "Run: http://x/y",
    ):
        assert line in lines, line
    assert any(line.startswith("Warning: Only 3 of 4 expected SIMs were placed") for line in lines)


def test_a_provider_that_was_never_synced_and_has_no_sims_has_a_mail_too(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_communication_plan("Tracking", ["Small"])
    text = text_of(world, world.optimize()["id"])
    assert "saves USD 0.00\n" in text
    assert "Last complete device sync                  unknown" in text


def test_it_goes_out_once(world: OptimizationWorld) -> None:
    instance_id = world.optimize()["id"]
    assert reason_not_mailed(world.dsn, instance_id, now=NOW) is None
    set_mailed(world.dsn, instance_id, now=NOW)
    assert reason_not_mailed(world.dsn, instance_id, now=NOW) == "it was mailed before"
    set_mailed(world.dsn, instance_id, now=NOW + timedelta(hours=1))
    assert world.instance(instance_id)["report_mailed_at"] == NOW


BY_WINDOW = "device_sync_jasper/optimization_window__"
THE_SAME, TOO_SOON = "it proposes the same plan changes as the report mailed at 10:30 UTC", "at least 2 hours apart"
TOMORROW = timedelta(hours=24)


@pytest.mark.parametrize(
    ("opened_by", "later", "proposes_the_same", "reason"),
    [
        (BY_WINDOW, timedelta(minutes=30), True, THE_SAME),
        (BY_WINDOW, timedelta(hours=5), True, THE_SAME),
        (BY_WINDOW, timedelta(minutes=119), False, TOO_SOON),
        (BY_WINDOW, timedelta(minutes=120), False, None),
        (BY_WINDOW, TOMORROW, True, None),  # the first of its day
        ("carrier_optimization_jasper/manual__", timedelta(minutes=1), True, None),
        ("device_sync_jasper/scheduled__", timedelta(minutes=1), True, None),
    ],
)
def test_of_sessions_that_follow_one_another_those_that_say_something_new_are_mailed(
    world: OptimizationWorld, opened_by: str, later: timedelta, proposes_the_same: bool, reason: str | None
) -> None:
    first = world.optimize(opened_by=f"{BY_WINDOW}1")["id"]
    assert reason_not_mailed(world.dsn, first, now=NOW) is None
    set_mailed(world.dsn, first, now=NOW)
    if not proposes_the_same:
        world.add_sim("8901170000000000005", "Tracking", "Large", 2)
    second = world.optimize(opened_by=f"{opened_by}2")["id"]
    found = reason_not_mailed(world.dsn, second, now=NOW + later)
    assert found == reason if reason is None else reason in str(found)


def test_a_report_that_was_not_mailed_is_none_to_compare_with(world: OptimizationWorld) -> None:
    for number in range(2):
        instance_id = world.optimize(opened_by=f"{BY_WINDOW}{number}")["id"]
    assert reason_not_mailed(world.dsn, instance_id, now=NOW) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipients": "operations"}, "'operations' is not an e-mail address"),
        ({"sender": "a@b.example;c@d.example"}, "the sender 'a@b.example;c@d.example' is not one address"),
    ],
)
def test_an_address_that_is_none_is_named(world: OptimizationWorld, settings: dict[str, str], message: str) -> None:
    instance_id = world.optimize()["id"]
    arguments: dict[str, Any] = SETTINGS | {"links": {}} | settings
    with pytest.raises(MailSettingsError, match=message):
        mail_to_send(world.dsn, instance_id, **arguments)


def test_there_is_none_before_the_results(world: OptimizationWorld) -> None:
    with pytest.raises(PipelineError, match="has no results"):
        mail_to_send(world.dsn, world.open(), links={}, **SETTINGS)


def test_a_warning_is_added_to_those_that_are_there_once(world: OptimizationWorld) -> None:
    instance = world.optimize()
    for _ in range(2):
        add_warning(world.dsn, instance["id"], "The report was not mailed: no route")
    assert world.instance(instance["id"])["warning"] == f"{instance['warning']}\nThe report was not mailed: no route"
