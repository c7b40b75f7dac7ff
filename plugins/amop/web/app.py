"""The FastAPI application of the operators' page: its routes.

Every route needs a signed-in user who may see an integration, the files of the page included. A view is a GET and reads
only. The few buttons that write are POSTs that no other site can make a user's browser send.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response, status
from fastapi.responses import HTMLResponse

from amop.findings import store as finding_store
from amop.page.findings import read_findings
from amop.page.queues import MESSAGE_STATES, read_messages, read_quarantine
from amop.page.savings import read_savings
from amop.page.session import read_session, read_sessions
from amop.page.session_tables import CHANGE_STATES, read_changes
from amop.page.sim import read_sim, search_sims
from amop.page.store.sessions import find_session
from amop.page.store.today import moment
from amop.page.table import Order
from amop.page.today import read_today
from amop.web.access import (
    Changeable,
    Integrations,
    User,
    may_answer,
    readable_integrations,
    require_own_page,
    user_name,
)
from amop.web.errors import add_error_pages, not_found
from amop.web.rendering import STATIC_TYPES, respond, static_file
from amop.web.warehouse import reading, writing

log = logging.getLogger(__name__)

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
                raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "a column to sort by is not valid")
            orders[name.removeprefix("sort_")] = Order(value.removeprefix("-"), value.startswith("-"))
    return orders


Orders = Annotated[dict[str, Order], Depends(table_orders)]
Dismissed = Literal["", "yes"]
Provider = Annotated[int | None, Query(ge=1, le=LARGEST_ID)]


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="AMOP operators' page",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(readable_integrations)],
    )
    add_error_pages(app)
    for path, action in ACTIONS.items():
        app.add_api_route(
            path,
            action,
            methods=["POST"],
            response_model=None,
            response_class=HTMLResponse,
            dependencies=[Depends(require_own_page)],
        )
    for path, view in VIEWS.items():
        app.add_api_route(path, view, methods=["GET"], response_model=None, response_class=HTMLResponse)
    return app


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
    state: Literal["", "proposed", "approved", "rejected", "applied", "conflict", "failed"] = "",
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
    orders: Orders,
    resolved: Literal["", "yes"] = "",
    q: Search = "",
    page: Page = 1,
    csv: Csv = None,
) -> Response:
    """List the quarantined records."""
    with reading() as connection:
        table = read_quarantine(
            connection,
            integrations=integrations,
            with_resolved=bool(resolved),
            search=q.strip() or None,
            order=orders.get("quarantine"),
            page=None if csv else page,
        )
    return respond(request, "quarantine.html.j2", tables={"quarantine": table}, csv=csv)


def dismiss_finding(
    request: Request,
    user: User,
    integrations: Integrations,
    changeable: Changeable,
    orders: Orders,
    finding_id: Id,
    dismissed: Dismissed = "",
    provider: Provider = None,
) -> Response:
    """Dismiss a finding and show the others."""
    with writing() as connection:
        now = moment(connection)
        changed = finding_store.dismiss(
            connection, finding_id=finding_id, integrations=changeable, dismissed_by=user_name(user), now=now
        )
    if not changed:
        raise not_found("There is no such finding any more, or you may not dismiss it.")
    return findings(request, integrations, changeable, orders, dismissed, provider)


def restore_finding(
    request: Request,
    integrations: Integrations,
    changeable: Changeable,
    orders: Orders,
    finding_id: Id,
    dismissed: Dismissed = "",
    provider: Provider = None,
) -> Response:
    """Take the dismissal of a finding back and show the others."""
    with writing() as connection:
        changed = finding_store.restore(connection, finding_id=finding_id, integrations=changeable)
    if not changed:
        raise not_found("There is no such finding any more, or you may not change it.")
    return findings(request, integrations, changeable, orders, dismissed, provider)


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
    "/outbox": outbox,
    "/quarantine": quarantine,
    "/static/{name}": static,
    "/{path:path}": no_such_view,
}

ACTIONS: dict[str, Callable[..., Response]] = {
    "/findings/{finding_id}/dismiss": dismiss_finding,
    "/findings/{finding_id}/restore": restore_finding,
}
"""Routes that write, all of them POST."""
