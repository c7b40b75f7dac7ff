"""The views of the operators' page: each reads in one transaction and answers with HTML, or with one table as CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, HTTPException, Path, Query, Request, Response, status

from amop.page.findings import read_findings
from amop.page.queues import MESSAGE_STATES, read_messages, read_quarantine
from amop.page.savings import read_savings
from amop.page.session import read_session, read_sessions
from amop.page.session_tables import CHANGE_STATES, read_changes
from amop.page.sim import read_sim, search_sims
from amop.page.store.sessions import find_session
from amop.page.table import Order
from amop.page.today import read_today
from amop.page.what_if import read_what_if, read_what_ifs
from amop.web.access import Askable, Changeable, Integrations, User, may_answer
from amop.web.errors import not_found
from amop.web.rendering import STATIC_TYPES, respond, static_file
from amop.web.warehouse import reading

LARGEST_ID = 2**63 - 1
LAST_PAGE = 100_000
SORT = re.compile(r"-?[a-z_]{1,40}")
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Search = Annotated[str, Query(max_length=100, pattern=PRINTABLE)]
Csv = Annotated[str | None, Query(max_length=40, pattern="^[a-z_]+$")]
Page = Annotated[int, Query(ge=1, le=LAST_PAGE)]


def table_orders(request: Request) -> dict[str, Order]:
    """Return the order of each table, from the query: ``sort_<table>=<column>``, or ``-<column>`` for descending.

    Raises:
        HTTPException: 422 for a value that is no column name.
    """
    orders = {}
    for name, value in request.query_params.items():
        if name.startswith("sort_") and value:
            if not SORT.fullmatch(value):
                text = f"sort_{name.removeprefix('sort_')[:40]} in the address is not the name of a column."
                raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, text)
            orders[name.removeprefix("sort_")] = Order(value.removeprefix("-"), value.startswith("-"))
    return orders


Orders = Annotated[dict[str, Order], Depends(table_orders)]
Dismissed = Literal["", "yes"]
Resolved = Literal["", "yes"]
Provider = Annotated[int | None, Query(ge=1, le=LARGEST_ID)]


def today(request: Request, integrations: Integrations, orders: Orders, csv: Csv = None) -> Response:
    """Show whether everything is fine, and what needs a person first."""
    with reading() as connection:
        view = read_today(connection, integrations=integrations, order=orders.get("today"))
    return respond(request, "today.html.j2", tables={"today": view.table}, csv=csv, view=view)


def sessions(
    request: Request,
    integrations: Integrations,
    orders: Orders,
    provider: Provider = None,
    csv: Csv = None,
) -> Response:
    """List the latest optimization sessions."""
    with reading() as connection:
        table = read_sessions(
            connection, integrations=integrations, service_provider_id=provider, order=orders.get("sessions")
        )
    return respond(request, "sessions.html.j2", tables={"sessions": table}, csv=csv)


def session(
    request: Request, user: User, integrations: Integrations, orders: Orders, session_id: Id, csv: Csv = None
) -> Response:
    """Show an optimization session."""
    with reading() as connection:
        view = read_session(connection, session_id, integrations=integrations, orders=orders)
    if view is None:
        raise not_found(f"There is no session {session_id}.")
    can_answer = view.approval is not None and may_answer(request, user, view.stored.integration)
    tables = {
        table.name: table for table in (view.groups, view.plans, view.moves, view.pools, view.excluded, view.top_savers)
    }
    return respond(request, "session.html.j2", tables=tables, csv=csv, view=view, can_answer=can_answer)


def session_changes(
    request: Request,
    integrations: Integrations,
    orders: Orders,
    session_id: Id,
    state: Literal["", "proposed", "waiting", "approved", "rejected", "applied", "conflict", "failed"] = "",
    q: Search = "",
    page: Page = 1,
    csv: Csv = None,
) -> Response:
    """List the plan changes of a session."""
    with reading() as connection:
        stored = find_session(connection, session_id=session_id, integrations=integrations)
        if stored is None:
            raise not_found(f"There is no session {session_id}.")
        table = read_changes(
            connection,
            stored.instance_id or 0,
            currency=stored.currency,
            state=state or None,
            search=q.strip() or None,
            order=orders.get("changes"),
            page=None if csv else page,
        )
    return respond(request, "changes.html.j2", tables={"changes": table}, csv=csv, session=stored, states=CHANGE_STATES)


def sims(request: Request, integrations: Integrations, orders: Orders, q: Search = "", csv: Csv = None) -> Response:
    """Search for SIMs."""
    with reading() as connection:
        table = search_sims(connection, q, integrations=integrations, order=orders.get("sims"))
    return respond(request, "sims.html.j2", tables={"sims": table}, csv=csv)


def sim(request: Request, integrations: Integrations, orders: Orders, device_id: Id, csv: Csv = None) -> Response:
    """Show a SIM."""
    with reading() as connection:
        view = read_sim(connection, device_id, integrations=integrations, orders=orders)
    if view is None:
        raise not_found("There is no such SIM.")
    tables: dict[str, Any] = {
        table.name: table
        for table in (view.options, view.days, view.cycles, view.history, view.changes, view.quarantine)
    }
    return respond(request, "sim.html.j2", tables=tables, csv=csv, view=view)


def savings(request: Request, integrations: Integrations, orders: Orders, csv: Csv = None) -> Response:
    """Show the forecast savings beside the realised ones."""
    with reading() as connection:
        view = read_savings(connection, integrations=integrations, order=orders.get("savings"))
    return respond(request, "savings.html.j2", tables={"savings": view.table}, csv=csv, view=view)


def findings(
    request: Request,
    integrations: Integrations,
    changeable: Changeable,
    orders: Orders,
    dismissed: Dismissed = "",
    provider: Provider = None,
    csv: Csv = None,
) -> Response:
    """Show what is unusual about SIMs and pools."""
    with reading() as connection:
        view = read_findings(
            connection,
            integrations=integrations,
            changeable=changeable,
            dismissed=bool(dismissed),
            service_provider_id=provider,
            orders=orders,
        )
    tables: dict[str, Any] = {"findings": view.table, "totals": view.totals}
    return respond(request, "findings.html.j2", tables=tables, csv=csv, view=view, can_dismiss=bool(changeable))


def what_ifs(
    request: Request,
    integrations: Integrations,
    askable: Askable,
    orders: Orders,
    provider: Provider = None,
    csv: Csv = None,
) -> Response:
    """List the latest what-ifs, and offer a new one."""
    with reading() as connection:
        view = read_what_ifs(
            connection,
            integrations=integrations,
            askable=[name for name in askable if name in integrations],
            service_provider_id=provider,
            order=orders.get("what_ifs"),
        )
    return respond(request, "what_ifs.html.j2", tables={"what_ifs": view.table}, csv=csv, view=view)


def what_if(request: Request, integrations: Integrations, orders: Orders, what_if_id: Id, csv: Csv = None) -> Response:
    """Show a what-if."""
    with reading() as connection:
        view = read_what_if(connection, what_if_id, integrations=integrations, orders=orders)
    if view is None:
        raise not_found("There is no such what-if.")
    tables: dict[str, Any] = {"moves": view.moves, "ladders": view.ladders}
    return respond(request, "what_if.html.j2", tables=tables, csv=csv, view=view)


def outbox(
    request: Request,
    integrations: Integrations,
    orders: Orders,
    state: Literal["", "pending", "sent", "dead"] = "",
    q: Search = "",
    page: Page = 1,
    csv: Csv = None,
) -> Response:
    """List the messages to AMOP."""
    with reading() as connection:
        table = read_messages(
            connection,
            integrations=integrations,
            state=state or None,
            search=q.strip() or None,
            order=orders.get("outbox"),
            page=None if csv else page,
        )
    return respond(request, "outbox.html.j2", tables={"outbox": table}, csv=csv, states=MESSAGE_STATES)


def quarantine(
    request: Request,
    integrations: Integrations,
    changeable: Changeable,
    orders: Orders,
    resolved: Resolved = "",
    q: Search = "",
    page: Page = 1,
    csv: Csv = None,
) -> Response:
    """List the quarantined records."""
    return show_quarantine(request, integrations, changeable, orders, resolved, q, page, csv=csv)


def show_quarantine(
    request: Request,
    integrations: list[str],
    changeable: list[str],
    orders: Mapping[str, Order],
    resolved: str,
    q: str,
    page: int,
    *,
    csv: str | None = None,
    said: str = "",
) -> Response:
    """Return the view Quarantine, with what a button of it has done."""
    with reading() as connection:
        table = read_quarantine(
            connection,
            integrations=integrations,
            changeable=changeable,
            with_resolved=bool(resolved),
            search=q.strip() or None,
            order=orders.get("quarantine"),
            page=None if csv else page,
            said=said,
        )
    return respond(request, "quarantine.html.j2", tables={"quarantine": table}, csv=csv, can_change=bool(changeable))


def static(name: str) -> Response:
    """Return a file that the page loads."""
    if name not in STATIC_TYPES:
        raise not_found("There is no such file.")
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}  # the address has the version
    return Response(static_file(name), media_type=STATIC_TYPES[name], headers=headers)


def no_such_view() -> Response:
    """Answer for every other address, so that it needs a user as well."""
    raise not_found("There is no such view.")


VIEWS: dict[str, Callable[..., Response]] = {
    "/": today,
    "/sessions": sessions,
    "/session/{session_id}": session,
    "/session/{session_id}/changes": session_changes,
    "/sims": sims,
    "/sim/{device_id}": sim,
    "/savings": savings,
    "/findings": findings,
    "/what-if": what_ifs,
    "/what-if/{what_if_id}": what_if,
    "/outbox": outbox,
    "/quarantine": quarantine,
    "/static/{name}": static,
    "/{path:path}": no_such_view,
}
