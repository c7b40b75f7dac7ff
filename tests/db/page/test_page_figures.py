"""The figures of each view are those of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from amop.database.connection import connect
from amop.page.findings import FindingsView, read_findings
from amop.page.needs import Need
from amop.page.queues import read_messages, read_quarantine
from amop.page.savings import read_savings
from amop.page.session import read_session, read_sessions
from amop.page.session_tables import read_changes
from amop.page.sim import read_sim, search_sims
from amop.page.table import Order, Table, as_csv
from amop.page.today import read_today
from amop.page.what_if import read_what_if, read_what_ifs
from amop.runs.first_step import OTHERWISE
from amop.what_if.plan_table import read_plan_table
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.optimization_world import MEGABYTE, NOW
from tests.worlds.page_world import SCRIPT, PageWorld, set_database_moment

EVERY = ["jasper", "pod19", "tmobile_jasper", "rogers"]


@pytest.fixture(scope="module")
def world(shared_warehouse_dsn: str, postgres_server: EmbeddedPostgres) -> PageWorld:
    set_database_moment(postgres_server, shared_warehouse_dsn, NOW)
    return PageWorld(shared_warehouse_dsn)


@pytest.fixture
def connection(world: PageWorld) -> Iterator[Any]:
    with connect(world.dsn) as connection:
        connection.read_only = True
        yield connection


def test_today_begins_with_the_most_urgent_provider(connection: Any) -> None:
    view = read_today(connection, integrations=EVERY, order=None)
    assert [(row.stored.name, row.need) for row in view.table.rows] == [
        ("Rogers", Need.FAILED),
        ("AT&T", Need.APPROVAL),
        ("T-Mobile", Need.LATE),
        ("POD19", Need.FINE),
    ]
    assert view.headline == (
        "1 of 4 providers is fine. Rogers: the sync failed at 2026-11-03 07:30 UTC: the carrier refused the API key "
        f"{SCRIPT}. Next: {OTHERWISE}. 2 more need attention: AT&T, T-Mobile."
    )


def test_today_shows_the_figures_of_the_last_sync_and_the_forecast(world: PageWorld, connection: Any) -> None:
    rows = {row.stored.name: row for row in read_today(connection, integrations=EVERY, order=None).table.rows}
    row, instance = rows["AT&T"], world.instance(world.instance_id)
    assert row.stored.device_count == world.value("SELECT count(*) FROM amop.device WHERE is_active")
    assert row.stored.data_usage == world.value("SELECT sum(ctd_data_usage) FROM amop.device")
    assert row.stored.quarantined == 2
    assert row.stored.forecast_bill == instance["current_cost"]
    assert row.possible_saving == instance["savings"] > 0
    assert row.stored.approval_changes == world.value(
        "SELECT count(*) FROM amop.rate_plan_change WHERE instance_id = %s", world.instance_id
    )
    assert row.days_left == 16
    assert rows["Rogers"].stored.currency == "CAD"


def test_usage_is_compared_with_the_same_time_of_the_cycle_before(connection: Any) -> None:
    rows = {row.stored.name: row for row in read_today(connection, integrations=EVERY, order=None).table.rows}
    ratio = rows["AT&T"].usage_ratio
    # The cycle before had read half of the usage a little later in the cycle; one more SIM has 1 MB.
    assert ratio is not None
    assert 2 < ratio < Decimal("2.1")
    assert rows["AT&T"].has_unusual_usage
    assert rows["POD19"].usage_ratio is None


def test_a_user_sees_only_the_integrations_that_the_user_may_read(world: PageWorld, connection: Any) -> None:
    rows = read_today(connection, integrations=["pod19"], order=None).table.rows
    assert [row.stored.name for row in rows] == ["POD19"]
    assert read_session(connection, world.session_id, integrations=["pod19"], orders={}) is None
    assert read_sessions(connection, integrations=["pod19"], service_provider_id=None, order=None).rows == []
    assert read_sim(connection, world.sims[0], integrations=["pod19"], orders={}) is None
    assert search_sims(connection, "8901170", integrations=["pod19"], order=None).rows == []
    assert read_savings(connection, integrations=["pod19"], order=None).table.rows == []
    wanted: dict[str, Any] = {"integrations": ["pod19"], "search": None, "order": None, "page": 1}
    assert read_messages(connection, state=None, **wanted).rows == []
    assert read_quarantine(connection, with_resolved=True, **wanted).rows == []


def test_a_session_shows_costs_proof_and_migration_of_its_tables(world: PageWorld, connection: Any) -> None:
    view = read_session(connection, world.session_id, integrations=EVERY, orders={})
    assert view is not None
    instance = world.instance(world.instance_id)
    assert (view.stored.current_cost, view.stored.total_cost) == (instance["current_cost"], instance["total_cost"])
    assert sum(row.total_cost for row in view.groups.rows if row.total_cost) == instance["total_cost"]
    assert sum(row.to_total_cost for row in view.plans.rows if row.to_total_cost) == instance["total_cost"]
    assert sum(row.from_cost - row.to_cost for row in view.moves.rows) == world.value(
        "SELECT sum(from_cost - to_cost) FROM amop.optimization_device_result WHERE from_rate_plan <> to_rate_plan"
    )
    assert [row.reason for row in view.excluded.rows] == ["communication_plan_not_mapped"]
    assert view.excluded.rows[0].monthly_charges == Decimal("2.90")
    assert view.flow is not None
    assert sum(bar.sims for bar in view.flow.left) == sum(bar.sims for bar in view.flow.right) == 13
    assert view.approval is not None
    assert view.approval.api == (
        f"api/v2/dags/carrier_optimization_jasper/dagRuns/session_{world.session_id}/taskInstances/approve_changes/-1"
        "/hitlDetails"
    )
    assert [stage.percent for stage in view.stages if stage.reached_at] == [0, 20, 30, 40, 50, 100]
    assert "proved" in view.proof


def test_the_saving_curve_ends_with_the_saving_of_all_changes(world: PageWorld, connection: Any) -> None:
    view = read_session(connection, world.session_id, integrations=EVERY, orders={})
    assert view is not None
    changes = read_changes(connection, world.instance_id, currency="USD", page=None).rows
    assert view.curve_points[-1].change_count == len(changes)
    assert view.curve_points[-1].saving == view.stored.savings
    assert [change.saving for change in changes] == sorted((change.saving for change in changes), reverse=True)  # type: ignore[type-var]


def test_plan_changes_are_filtered_sorted_and_counted(world: PageWorld, connection: Any) -> None:
    wanted: dict[str, Any] = {"currency": "USD"}
    table = read_changes(connection, world.instance_id, search="Small", order=Order("iccid"), **wanted)
    assert {row.to_rate_plan for row in table.rows} == {"Small 1"}
    assert [row.iccid for row in table.rows] == sorted(row.iccid for row in table.rows)
    assert table.matches == world.value(
        "SELECT count(*) FROM amop.rate_plan_change WHERE to_rate_plan = 'Small 1' AND instance_id = %s",
        world.instance_id,
    )
    assert read_changes(connection, world.instance_id, state="applied", **wanted).matches == 0


@pytest.mark.parametrize("typed", ["89011700000000000003", "310170000000003", "1555-000 1234", "35693803"])
def test_a_sim_is_found_by_the_first_digits_of_any_of_its_numbers(
    typed: str, world: PageWorld, connection: Any
) -> None:
    assert [row.id for row in search_sims(connection, typed, integrations=EVERY, order=None).rows] == [world.sims[3]]


@pytest.mark.parametrize("typed", ["", "8901", "89%", "' OR 1=1 --", "8901a7000"])
def test_a_search_without_enough_digits_finds_nothing(typed: str, connection: Any) -> None:
    table = search_sims(connection, typed, integrations=EVERY, order=None)
    assert table.rows == []
    assert table.empty.startswith("Type the first 5")


def test_a_sim_shows_usage_history_and_result_of_its_tables(world: PageWorld, connection: Any) -> None:
    view = read_sim(connection, world.sims[3], integrations=EVERY, orders={})
    assert view is not None
    result = world.results()[view.stored.iccid]
    assert view.forecast == result["projected_usage_mb"]
    assert [day.data_usage for day in view.days.rows] == [3 * MEGABYTE]
    assert [cycle.data_usage for cycle in view.cycles.rows] == [3 * MEGABYTE, 5 * MEGABYTE]
    assert [row.rate_plan for row in view.history.rows] == ["Medium 25", None]
    assert len(view.quarantine.rows) == 3
    assert [option.rate_plan for option in view.options.rows if option.is_chosen] == [result["to_rate_plan"]]
    assert [option.rate_plan for option in view.options.rows if option.is_present] == ["Medium 25"]
    assert view.sentences[0] == f"The optimization chose {result['to_rate_plan']} ({result['reason']})."


def test_a_sim_that_was_not_placed_says_why_and_what_to_do(world: PageWorld, connection: Any) -> None:
    sim_id = world.value("SELECT id FROM amop.device WHERE iccid LIKE '%%9001'")
    view = read_sim(connection, sim_id, integrations=EVERY, orders={})
    assert view is not None
    assert view.sentences == [
        f"Session {world.session_id} did not place this SIM. Its communication plan is not mapped to any rate plan.",
        "Map the plan in the reference file and load it.",
    ]


def test_savings_are_those_that_were_measured(connection: Any) -> None:
    view = read_savings(connection, integrations=EVERY, order=None)
    (total,), (row,) = view.totals, view.table.rows
    assert (total.currency, total.forecast, total.realised) == ("USD", Decimal(20), Decimal("19.25"))
    assert (row.forecast_saving, row.realised_saving, row.projection_error) == (
        Decimal(20),
        Decimal("19.25"),
        Decimal("0.1"),
    )
    assert as_csv(view.table).splitlines()[1].startswith("2026-10,AT&T,")


def read_all_findings(connection: Any, **wanted: Any) -> FindingsView:
    every: dict[str, Any] = {
        "integrations": EVERY,
        "changeable": [],
        "dismissed": False,
        "service_provider_id": None,
        "orders": {},
    }
    return read_findings(connection, **(every | wanted))


def test_findings_say_what_was_found_what_it_costs_and_what_to_do(world: PageWorld, connection: Any) -> None:
    view = read_all_findings(connection)
    assert [(row.provider, row.currency, row.amount) for row in view.table.rows] == [
        ("AT&T", "USD", Decimal("155.505")),
        ("Rogers", "CAD", Decimal(44)),
    ]
    cells = {column.name: column.value(view.table.rows[0]) for column in view.table.columns}
    assert cells["found"] == f"used 320.50 MB in 3.0 days; its history suggests 9.00 MB (plan {SCRIPT})"
    assert cells["action"].startswith("Deactivate the SIM in Control Center")
    assert view.table.columns[2].link is not None
    assert [view.table.columns[2].link(row) for row in view.table.rows] == [f"sim/{world.sims[3]}", None]
    assert [(row.found, row.amount) for row in view.totals.rows] == [(31, Decimal("410.25"))]


def test_findings_are_those_of_a_users_integrations_and_of_one_provider_if_asked(connection: Any) -> None:
    assert [row.provider for row in read_all_findings(connection, integrations=["rogers"]).table.rows] == ["Rogers"]
    assert [row.provider for row in read_all_findings(connection, service_provider_id=4).table.rows] == ["Rogers"]
    assert read_all_findings(connection, integrations=["pod19"]).totals.rows == []
    dismissed = read_all_findings(connection, dismissed=True)
    assert [(row.amount, row.dismissed_by) for row in dismissed.table.rows] == [(Decimal(60), "ann")]


def test_a_pool_over_its_allowance_points_to_the_open_approval_before_another_optimization(
    world: PageWorld, connection: Any
) -> None:
    ((jasper,), (rogers,)) = (
        read_all_findings(connection, service_provider_id=1, dismissed=True).table.rows,
        read_all_findings(connection, service_provider_id=4).table.rows,
    )
    (column,) = (each for each in read_all_findings(connection).table.columns if each.name == "action")
    assert column.link is not None
    propose = "Run the optimization with apply_changes = never: it proposes plans with more allowance, changes nothing"
    assert str(column.value(jasper)).startswith(
        f"First approve or reject the plan changes of session {world.session_id}. Then: {propose}"
    )
    assert column.link(jasper) == f"session/{world.session_id}#approval"
    assert str(column.value(rogers)).startswith(propose)
    (spike,) = read_all_findings(connection, service_provider_id=1).table.rows
    assert (column.link(rogers), column.link(spike)) == (None, None)


def test_a_check_that_found_nothing_is_no_missing_check(world: PageWorld) -> None:
    with connect(world.dsn) as writing:
        assert read_all_findings(writing, integrations=["pod19"]).table.empty.startswith("Nothing was checked yet")
        writing.execute(
            "INSERT INTO amop.finding_check SELECT provider.id, run.id, now(), '{}' FROM amop.service_provider provider"
            " JOIN amop.integration ON integration.id = provider.integration_id, amop.device_sync_run run"
            " WHERE integration.name = 'pod19' LIMIT 1"
        )
        assert read_all_findings(writing, integrations=["pod19"]).table.empty == "Nothing unusual was found."
        writing.rollback()


def test_only_findings_of_integrations_that_the_user_may_change_have_a_button(
    world: PageWorld, connection: Any
) -> None:
    view = read_all_findings(connection, changeable=["jasper"])
    button = view.table.columns[-1].action
    assert button is not None
    actions = [button(row) for row in view.table.rows]
    assert [action and action.address for action in actions] == [f"findings/{world.finding_id}/dismiss", None]
    assert "button" not in as_csv(view.table).splitlines()[0]
    assert all(column.action is None for column in read_all_findings(connection).table.columns)


def test_a_what_if_shows_its_bills_beside_todays(world: PageWorld, connection: Any) -> None:
    view = read_what_if(connection, world.what_if_id, integrations=EVERY, orders={})
    assert view is not None
    assert view.proof.endswith("the plans change the least bill by between USD -5.63 and USD -5.00.")
    assert [(ladder.rate_plans, ladder.cost) for ladder in view.ladders.rows] == [
        (["N1"], Decimal(25)),
        (["N2"], Decimal(27)),
    ]
    assert [move.sims for move in view.moves.rows] == [7, 5]
    assert view.stored.session_id == world.session_id
    assert view.run_address == "dags/what_if_jasper/runs/manual__1"
    assert read_what_if(connection, world.what_if_id, integrations=["rogers"], orders={}) is None


def test_a_what_if_is_filled_in_with_the_present_plans_of_a_provider(world: PageWorld, connection: Any) -> None:
    wanted: dict[str, Any] = {"integrations": EVERY, "order": None}
    form = read_what_ifs(connection, askable=["jasper", "rogers"], service_provider_id=1, **wanted)
    assert [provider.name for provider in form.providers] == ["AT&T", "Rogers"]
    assert [plan.rate_plan_code for plan in read_plan_table(form.rate_plans)] == world.value(
        "SELECT array_agg(rate_plan_code ORDER BY rate_plan_code) FROM amop.carrier_rate_plan"
    )
    assert [(row.id, row.new_cost) for row in form.table.rows] == [(world.what_if_id, Decimal(25))]
    nothing = read_what_ifs(connection, askable=[], service_provider_id=1, **wanted)
    assert (nothing.providers, nothing.chosen) == ([], None)


def test_messages_are_filtered_by_state_and_provider(world: PageWorld, connection: Any) -> None:
    wanted: dict[str, Any] = {"integrations": EVERY, "order": None, "page": 1}
    dead = read_messages(connection, state="dead", search=None, **wanted)
    assert [(row.kind, row.provider, row.attempts) for row in dead.rows] == [("daily_sync", "AT&T", 3)]
    every = read_messages(connection, state=None, search="at&t", **wanted)
    assert every.matches == world.value("SELECT count(*) FROM amop.amop_outbox")
    assert read_messages(connection, state=None, search="rogers", **wanted).rows == []


def test_quarantine_shows_open_records_and_resolved_ones_only_if_asked(world: PageWorld, connection: Any) -> None:
    wanted: dict[str, Any] = {"integrations": EVERY, "order": Order("reason"), "page": 1}
    shown = read_quarantine(connection, with_resolved=False, search=None, **wanted)
    assert [row.reason for row in shown.rows] == ["=HYPERLINK(1)", f"the ICCID has letters {SCRIPT}"]
    assert {row.device_id for row in shown.rows} == {world.sims[3]}
    assert read_quarantine(connection, with_resolved=True, search="negative", **wanted).matches == 1


def test_an_exported_text_never_begins_like_a_formula(connection: Any) -> None:
    wanted: dict[str, Any] = {"integrations": EVERY, "search": None, "order": None, "page": None}
    text = as_csv(read_quarantine(connection, with_resolved=False, **wanted))
    assert "'=HYPERLINK(1)" in text
    assert ",=HYPERLINK" not in text


def test_an_empty_warehouse_has_a_sentence_in_every_view(warehouse_dsn: str) -> None:
    with connect(warehouse_dsn) as empty:
        today = read_today(empty, integrations=EVERY, order=None)
        wanted: dict[str, Any] = {"integrations": EVERY, "order": None, "page": 1, "search": None}
        tables: list[Table[Any]] = [
            today.table,
            read_sessions(empty, integrations=EVERY, service_provider_id=None, order=None),
            read_savings(empty, integrations=EVERY, order=None).table,
            read_all_findings(empty).table,
            read_messages(empty, state=None, **wanted),
            read_quarantine(empty, with_resolved=False, **wanted),
        ]
    assert today.headline == "No provider is active yet."
    assert all(table.empty and not table.rows for table in tables)


def test_a_role_that_may_only_read_is_enough(world: PageWorld, postgres_server: EmbeddedPostgres) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(world.dsn)["dbname"])
    with connect(postgres_server.conninfo(name, user="postgres")) as connection:
        connection.execute("CREATE ROLE page_reader")
        connection.execute("GRANT USAGE ON SCHEMA amop TO page_reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA amop TO page_reader")
        connection.execute("SET LOCAL ROLE page_reader")
        assert read_today(connection, integrations=EVERY, order=None).table.rows
        assert read_session(connection, world.session_id, integrations=EVERY, orders={}) is not None
        assert read_sim(connection, world.sims[3], integrations=EVERY, orders={}) is not None
        assert read_savings(connection, integrations=EVERY, order=None).table.rows
        assert read_all_findings(connection).table.rows
        assert read_what_if(connection, world.what_if_id, integrations=EVERY, orders={}) is not None
        assert read_messages(connection, integrations=EVERY, state=None, search=None, order=None, page=1).rows
        assert read_quarantine(connection, integrations=EVERY, with_resolved=True, search=None, order=None, page=1).rows
        connection.rollback()


def test_a_thousand_providers_are_shown_with_the_most_expensive_of_equal_need_first(warehouse_dsn: str) -> None:
    with connect(warehouse_dsn) as connection:
        connection.execute("INSERT INTO amop.tenant VALUES (1, 'T', 'UTC')")
        connection.execute(
            "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)"
            " SELECT n, 1, 1 + n % 4, 'Provider ' || n, 'c', 'UTC' FROM generate_series(1, 1000) AS n"
        )
        view = read_today(connection, integrations=EVERY, order=None)
        sorted_by_name = read_today(connection, integrations=EVERY, order=Order("provider", descending=True))
    assert len(view.table.rows) == 1000
    assert view.headline == (
        "0 of 1,000 providers are fine. Provider 1: it has never been synced. "
        "Next: trigger device_sync_pod19 and see that it is not paused. 999 more need attention."
    )
    assert sorted_by_name.table.rows[0].stored.name == "Provider 999"
