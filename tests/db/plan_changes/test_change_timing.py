"""Doubtful plan changes wait for the last optimization that fits: what is sent, what waits, and what is shown of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.database.connection import connect
from amop.maintenance.store.status import last_optimizations, last_realised_savings
from amop.page.savings import read_savings
from amop.page.session import decision_words, read_session
from amop.page.session_tables import read_changes
from amop.plan_changes.apply import stop_changes
from amop.plan_changes.closed_periods import end_waiting_changes
from amop.plan_changes.decide import Answer, approval_request
from amop.plan_changes.store.decisions import changes_by_state
from tests.worlds.changes_world import CYCLE_END, NOW, ChangesWorld

WAITS = (
    "waits for the optimization of 2026-11-15, the last one that leaves time for all changes: another plan may be "
    "better by the end of the period"
)
"""The period ends on 15 November at 12:00 UTC; a session of the day before would fit as well."""


@pytest.fixture
def limited(world: ChangesWorld) -> ChangesWorld:
    """A provider in UTC whose SIMs may change their plan once in a period."""
    world.set_provider(
        time_zone="UTC",
        optimization_start_hour_local=0,
        maximum_changes_per_sim=1,
        doubtful_changes="wait_if_limited",
    )
    return world


def instance_with_doubt(world: ChangesWorld, count: int, doubtful: int) -> tuple[int, list[dict[str, Any]]]:
    """Return an instance of which the first changes are doubtful, and its SIMs; they save 1, 2, 3 … in their order."""
    sims = world.sims(count)
    instance_id = world.instance(sims)
    world.execute(
        "UPDATE amop.rate_plan_change SET certainty = 0.5, is_doubtful = true WHERE id IN (SELECT id FROM "
        "amop.rate_plan_change WHERE instance_id = %s ORDER BY id LIMIT %s)",
        instance_id,
        doubtful,
    )
    return instance_id, sims


def waiting(world: ChangesWorld, instance_id: int) -> list[str | None]:
    rows = world.execute(
        "SELECT waits_reason FROM amop.rate_plan_change WHERE instance_id = %s ORDER BY id", instance_id
    )
    return [row["waits_reason"] for row in rows]


def test_certain_changes_are_sent_at_once_and_doubtful_ones_wait_with_the_reason(limited: ChangesWorld) -> None:
    instance_id, sims = instance_with_doubt(limited, 5, 2)
    assert limited.plan(instance_id) == "approved"
    assert waiting(limited, instance_id) == [WAITS, WAITS, None, None, None]
    assert limited.states(instance_id) == ["proposed", "proposed", "approved", "approved", "approved"]
    row = limited.row(instance_id)
    assert row["changes_reason"] == (
        f"within the provider's limits: no approval needed; each of 2 doubtful changes {WAITS}"
    )
    # 3 changes take 9 calls, 2 s at 5 a second, and ten minutes are kept.
    assert row["changes_deadline"] == CYCLE_END - timedelta(seconds=602)
    before = limited.plans()
    assert limited.apply(instance_id) == {"applied": 3, "waiting": 2}
    assert limited.row(instance_id)["changes_status"] == "applied"
    moved = {iccid for iccid, plan in limited.plans().items() if plan != before[iccid]}
    assert moved == {sim["iccid"] for sim in sims[2:]}


def test_the_next_optimization_takes_over_what_waits_and_the_applied_changes_stay_applied(
    limited: ChangesWorld,
) -> None:
    older, sims = instance_with_doubt(limited, 3, 1)
    limited.plan(older)
    limited.apply(older)
    newer = limited.instance(sims[:1])
    assert limited.plan(newer, now=NOW + timedelta(days=1)) == "approved"
    assert limited.states(older) == ["rejected", "applied", "applied"]
    row = limited.row(older)
    assert (row["changes_status"], row["changes_reason"]) == (
        "applied",
        f"2 applied; 1 doubtful change was superseded by instance {newer} of the same provider",
    )
    assert limited.changes(older)[sims[0]["iccid"]]["error"] == f"superseded by instance {newer} of the same provider"
    assert limited.apply(newer, now=NOW + timedelta(days=1)) == {"applied": 1}


@pytest.mark.parametrize(
    "now",
    [
        datetime.fromisoformat("2026-11-15T00:00:00+00:00"),
        CYCLE_END - timedelta(minutes=11),
    ],
)
def test_the_last_run_that_fits_proposes_everything(limited: ChangesWorld, now: datetime) -> None:
    instance_id, _ = instance_with_doubt(limited, 4, 4)
    assert limited.plan(instance_id, now=now) == "approved"
    assert waiting(limited, instance_id) == [None] * 4
    assert limited.row(instance_id)["changes_reason"] == "within the provider's limits: no approval needed"


def test_a_slow_carrier_or_a_long_session_brings_the_last_run_forward(limited: ChangesWorld) -> None:
    limited.execute(
        "INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, opened_by, status, progress, "
        "started_at, ended_at) VALUES (%s, %s, 'long', 'complete', 100, %s, %s)",
        limited.provider.id,
        limited.billing_period_id,
        NOW - timedelta(hours=13),
        NOW,
    )
    instance_id, _ = instance_with_doubt(limited, 2, 1)
    limited.plan(instance_id)
    # 13 hours from midnight are later than noon: the last session that fits is that of the day before.
    assert "optimization of 2026-11-14," in (waiting(limited, instance_id)[0] or "")


@pytest.mark.parametrize(
    ("settings", "waits"),
    [
        ({"doubtful_changes": "at_once"}, False),
        ({"maximum_changes_per_sim": None}, False),  # a later run can correct the change
        ({"maximum_changes_per_sim": None, "doubtful_changes": "wait"}, True),
        ({"maximum_changes_per_sim": 2}, False),
        ({"maximum_changes_per_sim": None, "minimum_days_on_plan": 4}, False),  # until the 14th
        ({"maximum_changes_per_sim": None, "minimum_days_on_plan": 5}, True),
        ({"can_auto_update_rate_plans": False}, False),  # a later run would not send it either
    ],
)
def test_the_setting_and_the_limits_decide_whether_a_doubtful_change_waits(
    limited: ChangesWorld, settings: dict[str, Any], waits: bool
) -> None:
    limited.set_provider(**settings)
    instance_id, _ = instance_with_doubt(limited, 2, 1)
    limited.plan(instance_id)
    assert waiting(limited, instance_id) == [WAITS if waits else None, None]


def test_a_sim_waits_with_the_last_change_that_it_may_have(limited: ChangesWorld) -> None:
    limited.set_provider(maximum_changes_per_sim=2)
    first, sims = instance_with_doubt(limited, 2, 0)
    limited.plan(first)
    limited.apply(first)
    back = [{**sim, "rate_plan": sim["target"], "target": sim["rate_plan"]} for sim in sims]
    again = limited.instance([*back, *limited.sims(1)])
    limited.execute("UPDATE amop.rate_plan_change SET is_doubtful = true WHERE instance_id = %s", again)
    limited.plan(again, now=NOW + timedelta(hours=1))
    assert waiting(limited, again) == [WAITS, WAITS, None]


def test_if_all_changes_wait_nothing_is_sent_and_planning_again_on_the_last_day_sends_them(
    limited: ChangesWorld,
) -> None:
    instance_id, _ = instance_with_doubt(limited, 2, 2)
    assert limited.plan(instance_id) == "proposed_only"
    assert limited.row(instance_id)["changes_reason"] == f"only proposed: each of 2 doubtful changes {WAITS}"
    assert limited.plan(instance_id, now=CYCLE_END - timedelta(hours=3)) == "approved"
    assert limited.states(instance_id) == ["approved", "approved"]


def test_an_approval_is_requested_for_the_changes_that_do_not_wait(limited: ChangesWorld) -> None:
    limited.set_provider(approval_above_changes=2)
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    assert limited.plan(instance_id) == "waiting"
    request = approval_request(limited.dsn, instance_id, call_rate=lambda *_: 5.0, now=NOW)
    # The first two would save 1 and 2.
    assert request.subject.endswith(": apply 3 rate plan changes that save USD 12.00?")
    assert f"each of 2 doubtful changes {WAITS}" in request.body
    assert limited.answer(instance_id, Answer(is_approval=True, by="anna")) == "approved"
    assert limited.states(instance_id) == ["proposed", "proposed", "approved", "approved", "approved"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        # 3 are sent now and save 3, 4 and 5; 2 wait and would save 1 and 2.
        ({"approval_above_changes": 5}, None),
        (
            {"approval_above_changes": 4},
            "5 changes (3 to be sent now and 2 that wait) are more than approval_above_changes = 4",
        ),
        ({"approval_above_changes": None, "approval_above_amount": 15}, None),
        (
            {"approval_above_changes": None, "approval_above_amount": 14},
            "USD 15.00 moved (USD 12.00 by what is sent now and USD 3.00 by what waits) is more than "
            "approval_above_amount = USD 14.00",
        ),
    ],
)
def test_what_is_sent_now_and_what_waits_are_compared_with_the_limits_together(
    limited: ChangesWorld, limits: dict[str, Any], reason: str | None
) -> None:
    limited.set_provider(**limits)
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    assert limited.plan(instance_id) == ("approved" if reason is None else "waiting")
    decided = reason or "within the provider's limits: no approval needed"
    assert limited.row(instance_id)["changes_reason"] == f"{decided}; each of 2 doubtful changes {WAITS}"


def test_what_waits_alone_requests_no_approval(limited: ChangesWorld) -> None:
    limited.set_provider(approval_above_changes=1)
    instance_id, _ = instance_with_doubt(limited, 3, 3)
    assert limited.plan(instance_id) == "proposed_only"
    # All of them are decided on when they no longer wait.
    assert limited.plan(instance_id, now=CYCLE_END - timedelta(hours=3)) == "waiting"
    assert limited.row(instance_id)["changes_reason"] == "3 changes are more than approval_above_changes = 1"


def test_the_page_lists_what_waits_with_certainty_and_reason(limited: ChangesWorld) -> None:
    instance_id, _ = instance_with_doubt(limited, 3, 1)
    limited.plan(instance_id)
    with connect(limited.dsn) as connection:
        assert changes_by_state(connection, instance_id) == {"approved": 2, "waiting": 1}
        table = read_changes(connection, instance_id, currency="USD", state="waiting")
        (row,) = table.rows
        assert (row.state, row.remark, row.certainty, table.matches) == ("waiting", WAITS, Decimal("0.5"), 1)
        assert [each.state for each in read_changes(connection, instance_id, currency="USD").rows] == [
            "approved",
            "approved",
            "waiting",
        ]
        assert not read_changes(connection, instance_id, currency="USD", state="proposed").rows


NOT_SENT = "waited, but the billing period ended before a later optimization decided on it; it was not sent"


def test_what_still_waits_when_the_billing_period_closes_is_rejected_with_the_reason(limited: ChangesWorld) -> None:
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    limited.plan(instance_id)
    limited.apply(instance_id)
    assert limited.row(instance_id)["changes_reason"] == f"3 applied; each of 2 doubtful changes {WAITS}"
    assert end_waiting_changes(limited.dsn, now=CYCLE_END - timedelta(seconds=1)) == 0
    assert end_waiting_changes(limited.dsn, now=CYCLE_END) == 2
    assert limited.states(instance_id) == ["rejected", "rejected", "applied", "applied", "applied"]
    row = limited.row(instance_id)
    assert (row["changes_status"], row["changes_reason"]) == (
        "applied",
        f"3 applied; each of 2 doubtful changes {NOT_SENT}",
    )
    with connect(limited.dsn) as connection:
        assert changes_by_state(connection, instance_id) == {"applied": 3, "rejected": 2}
        assert not read_changes(connection, instance_id, currency="USD", state="waiting").rows
        remarks = [row.remark for row in read_changes(connection, instance_id, currency="USD", state="rejected").rows]
    assert remarks == [NOT_SENT, NOT_SENT]
    assert end_waiting_changes(limited.dsn, now=CYCLE_END + timedelta(days=1)) == 0


@pytest.mark.parametrize("comment", ["", "two are still waiting", f"it {WAITS}", "only proposed: 2 waiting"])
def test_the_words_of_an_operator_stay_and_the_reason_says_what_waits_and_what_became_of_it(
    limited: ChangesWorld, comment: str
) -> None:
    limited.set_provider(approval_above_changes=2)
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    limited.plan(instance_id)
    assert limited.answer(instance_id, Answer(is_approval=True, by="anna", comment=comment)) == "approved"
    said = f"approved by anna: {comment}" if comment else "approved by anna"
    assert limited.row(instance_id)["changes_reason"] == f"{said}; each of 2 doubtful changes {WAITS}"
    assert end_waiting_changes(limited.dsn, now=CYCLE_END) == 2
    row = limited.row(instance_id)
    assert (row["changes_status"], row["changes_reason"]) == (
        "approved",
        f"{said}; each of 2 doubtful changes {NOT_SENT}",
    )


def test_changes_that_are_stopped_say_what_waits_and_what_became_of_it(limited: ChangesWorld) -> None:
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    limited.plan(instance_id)
    stop_changes(limited.dsn, instance_id, "the carrier is down", now=NOW)
    assert limited.row(instance_id)["changes_reason"] == f"the carrier is down; each of 2 doubtful changes {WAITS}"
    end_waiting_changes(limited.dsn, now=CYCLE_END)
    row = limited.row(instance_id)
    assert (row["changes_status"], row["changes_reason"]) == (
        "stopped",
        f"the carrier is down; each of 2 doubtful changes {NOT_SENT}",
    )


def test_page_status_and_session_say_what_waits_after_an_approval_and_what_became_of_it(limited: ChangesWorld) -> None:
    limited.set_provider(approval_above_changes=2)
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    limited.plan(instance_id)
    limited.answer(instance_id, Answer(is_approval=True, by="anna"))
    session_id = limited.row(instance_id)["session_id"]
    for words in (WAITS, NOT_SENT):
        with connect(limited.dsn) as connection:
            (last,) = last_optimizations(connection)
            session = read_session(connection, session_id, integrations=["jasper"], orders={})
        assert session is not None
        for shown in (last.changes_reason, decision_words(session.stored)):
            assert shown is not None and f"each of 2 doubtful changes {words}" in shown
        end_waiting_changes(limited.dsn, now=CYCLE_END)


def test_an_instance_with_other_proposed_changes_stays_proposed_when_the_period_closes(limited: ChangesWorld) -> None:
    limited.set_provider(approval_above_changes=1)
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    assert limited.plan(instance_id, can_wait=False) == "proposed_only"
    assert end_waiting_changes(limited.dsn, now=CYCLE_END) == 2
    row = limited.row(instance_id)
    assert row["changes_status"] == "proposed_only"
    assert row["changes_reason"].endswith(
        f"and a test of the DAG cannot wait for approval; each of 2 doubtful changes {NOT_SENT}"
    )
    assert limited.states(instance_id) == ["rejected", "rejected", "proposed", "proposed", "proposed"]


def test_an_instance_of_which_all_changes_waited_is_no_go_when_the_period_closes(limited: ChangesWorld) -> None:
    instance_id, _ = instance_with_doubt(limited, 2, 2)
    assert limited.plan(instance_id) == "proposed_only"
    end_waiting_changes(limited.dsn, now=CYCLE_END)
    row = limited.row(instance_id)
    assert (row["changes_status"], row["changes_reason"]) == (
        "no_go",
        f"no go: each of 2 doubtful changes {NOT_SENT}",
    )
    assert limited.plan(instance_id, now=CYCLE_END + timedelta(hours=1)) == "no_go"


def test_changes_that_are_only_proposed_or_taken_over_did_not_wait_in_vain(limited: ChangesWorld) -> None:
    older, sims = instance_with_doubt(limited, 2, 1)
    limited.plan(older)
    limited.set_provider(can_auto_update_rate_plans=False)
    newer = limited.instance(sims)
    assert limited.plan(newer) == "proposed_only"
    assert end_waiting_changes(limited.dsn, now=CYCLE_END) == 0
    assert limited.changes(older)[sims[0]["iccid"]]["error"] == f"superseded by instance {newer} of the same provider"
    assert limited.states(newer) == ["proposed", "proposed"]


def test_page_and_command_line_count_what_waited_in_vain_beside_the_realised_saving(limited: ChangesWorld) -> None:
    instance_id, _ = instance_with_doubt(limited, 5, 2)
    limited.plan(instance_id)
    limited.apply(instance_id)
    end_waiting_changes(limited.dsn, now=CYCLE_END)
    limited.execute(
        "INSERT INTO amop.realised_saving (instance_id, applied_changes, forecast_saving, old_plans_cost,"
        " applied_plans_cost, realised_saving, projected_usage_mb, real_usage_mb, absolute_error_mb, measured_at)"
        " VALUES (%s, 3, 12, 100, 88, 12, 10, 10, 0, %s)",
        instance_id,
        CYCLE_END,
    )
    with connect(limited.dsn) as connection:
        (row,) = read_savings(connection, integrations=["jasper"], order=None).table.rows
        (last,) = last_realised_savings(connection)
    assert (row.applied_changes, row.unsent_changes) == (3, 2)
    assert (last.applied_changes, last.unsent_changes) == (3, 2)


def test_nothing_waits_where_the_certain_changes_alone_would_raise_the_bill(world: ChangesWorld) -> None:
    world.set_provider(doubtful_changes="wait", time_zone="UTC", optimization_start_hour_local=0)
    instance_id, sims = instance_with_doubt(world, 2, 1)
    for assignment, usage in (("current", 10), ("solved", 11)):
        world.execute(
            "INSERT INTO amop.optimization_pool_result VALUES (%s, %s, 0, 'p', NULL, 1, 1, %s, %s, %s, 0, 0, 0)",
            *(instance_id, assignment, usage, usage * 100, usage * 100),
        )
    # The doubtful change brings 100 MB into the pool, which the certain one uses, at 1 a MB of overage.
    for is_doubtful, saving, excess in ((True, -1, -100), (False, 5, 100)):
        world.execute(
            "UPDATE amop.rate_plan_change SET own_saving = %s, to_pool_number = 0, to_excess_mb = %s"
            " WHERE instance_id = %s AND is_doubtful = %s",
            *(saving, excess, instance_id, is_doubtful),
        )
    assert world.plan(instance_id) == "approved"
    assert waiting(world, instance_id) == [None, None]
    assert len(sims) == 2
