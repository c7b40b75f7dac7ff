"""The view What if: the bill with other rate plans, beside today's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.page import formatting
from amop.page.pictures import FlowPicture, PlanFlow, flow_picture
from amop.page.store import what_if as store
from amop.page.store.what_if import ProviderToAsk, StoredWhatIf, WhatIfLadder, WhatIfMove
from amop.page.table import Column, Order, Table, whole_table
from amop.what_if import store as what_if_store
from amop.what_if.plan_rules import form_faults
from amop.what_if.plan_table import write_plan_table
from amop.wording import money

MOST_ROWS = 100

COLUMNS: tuple[Column[StoredWhatIf], ...] = (
    Column("id", "What if", lambda row: row.id, kind="id", link=lambda row: f"what-if/{row.id}"),
    Column("provider", "Provider", lambda row: row.provider),
    Column("status", "Status", lambda row: row.status, kind="state", note=lambda row: row.error),
    Column("today", "Least bill today", lambda row: row.today_cost, kind="money"),
    Column("new", "Least bill with these plans", lambda row: row.new_cost, kind="money"),
    Column("difference", "Difference", lambda row: difference(row), kind="money"),
    Column("changes", "SIMs that move", lambda row: row.changes, kind="count"),
    Column("started_at", "Started", lambda row: row.started_at, kind="moment"),
)

MOVE_COLUMNS: tuple[Column[WhatIfMove], ...] = (
    Column("from", "Present plan", lambda row: row.from_rate_plan),
    Column("to", "Cheapest of these plans", lambda row: row.to_rate_plan),
    Column("sims", "SIMs", lambda row: row.sims, kind="count"),
)

LADDER_COLUMNS: tuple[Column[WhatIfLadder], ...] = (
    Column("plans", "New plans", lambda row: ", ".join(row.rate_plans)),
    Column("cost", "Least bill", lambda row: row.cost, kind="money"),
    Column("bound", "Least possible (bound)", lambda row: row.bound, kind="money"),
    Column("changes", "SIMs that move", lambda row: row.changes, kind="count"),
)


@dataclass(frozen=True, slots=True)
class WhatIfForm:
    """What a new what-if is filled in with."""

    providers: list[ProviderToAsk]
    chosen: ProviderToAsk | None
    rate_plans: str
    """The chosen provider's present plans as CSV."""
    table: Table[StoredWhatIf]


@dataclass(frozen=True, slots=True)
class WhatIfView:
    """A what-if."""

    stored: StoredWhatIf
    run_address: str
    """Of the DAG run, relative to Airflow's root."""
    proof: str
    flow: FlowPicture | None
    moves: Table[WhatIfMove]
    ladders: Table[WhatIfLadder]


def difference(row: StoredWhatIf) -> Decimal | None:
    """Return the new bill less today's, None before it is known."""
    return None if row.new_cost is None or row.today_cost is None else row.new_cost - row.today_cost


def read_what_ifs(
    connection: WarehouseConnection,
    *,
    integrations: list[str],
    askable: list[str],
    service_provider_id: int | None,
    order: Order | None,
) -> WhatIfForm:
    """Return the latest what-ifs and the form of a new one.

    Args:
        connection: a reading transaction.
        integrations: names of the integrations that the user may see.
        askable: names of those that the user may start what-ifs of.
        service_provider_id: the chosen provider; None = the first.
        order: None = the newest first.
    """
    providers = store.what_if_providers(connection, integrations=askable)
    chosen = next((each for each in providers if each.id == service_provider_id), providers[0] if providers else None)
    plans = store.present_plans(connection, service_provider_id=chosen.id) if chosen else []
    return WhatIfForm(
        providers,
        chosen,
        write_plan_table(plans),
        whole_table(
            "what_ifs",
            "Latest what-ifs",
            COLUMNS,
            store.what_ifs(connection, integrations=integrations, maximum=MOST_ROWS),
            order=order or Order("id", descending=True),
            empty="No what-if was computed yet.",
            currency=lambda row: row.currency,
        ),
    )


def check_form(
    connection: WarehouseConnection,
    *,
    askable: list[str],
    service_provider_id: int,
    rate_plans: str,
    ladder_size: str,
) -> dict[str, str] | None:
    """Return why a what-if with this form would fail, by field; None where the user may not ask about the provider.

    Args:
        connection: a reading transaction.
        askable: names of the integrations that the user may start what-ifs of.
        service_provider_id: the provider.
        rate_plans: the table as CSV.
        ladder_size: the number of new plans to choose, as typed.
    """
    providers = store.what_if_providers(connection, integrations=askable)
    asked = next((each for each in providers if each.id == service_provider_id), None)
    if asked is None:
        return None
    instance_id = what_if_store.latest_instance(connection, service_provider_id=asked.id, integration=asked.integration)
    if instance_id is None:
        return {"provider": f"{asked.name} has no completed optimization whose SIMs are stored: optimize it first"}
    return form_faults(
        rate_plans,
        ladder_size,
        known=frozenset(what_if_store.provider_plans(connection, service_provider_id=asked.id)),
        offered=what_if_store.offered_plans(connection, instance_id=instance_id),
    )


def read_what_if(
    connection: WarehouseConnection, what_if_id: int, *, integrations: list[str], orders: Mapping[str, Order]
) -> WhatIfView | None:
    """Return a what-if, None where there is none that the user may see."""
    stored = store.what_if(connection, what_if_id=what_if_id, integrations=integrations)
    if stored is None:
        return None
    moves = store.what_if_moves(connection, what_if_id=what_if_id)
    ladders = store.what_if_ladders(connection, what_if_id=what_if_id)
    return WhatIfView(
        stored,
        formatting.airflow_run(stored.dag_id, stored.dag_run_id),
        _proof(stored),
        flow_picture([PlanFlow(move.from_rate_plan, move.to_rate_plan, move.sims) for move in moves]),
        whole_table(
            "moves",
            "SIMs by present plan and cheapest of these plans",
            MOVE_COLUMNS,
            moves,
            order=orders.get("moves") or Order("sims", descending=True),
            empty="Nothing is computed yet.",
        ),
        whole_table(
            "ladders",
            "New plans to ask the carrier for, by their bill",
            LADDER_COLUMNS,
            ladders,
            order=orders.get("ladders") or Order("cost"),
            empty="All new plans were computed at once.",
            currency=lambda _row: stored.currency,
        ),
    )


def _proof(row: StoredWhatIf) -> str:
    if row.new_cost is None or row.new_bound is None or row.today_cost is None or row.today_bound is None:
        return ""
    # Each least bill is between its bound and what was found, so that the difference is between these two.
    least, most = row.new_bound - row.today_cost, row.new_cost - row.today_bound
    lower, upper = money(least, row.currency), money(most, row.currency)
    change = lower if lower == upper else f"between {lower} and {upper}"
    return f"Both bills have a proven bound: whatever the assignments, the plans change the least bill by {change}."
