"""The FastAPI application of the operators' page: its routes, and what an error looks like.

Every route needs a signed-in user who may see an integration, the files of the page included. Nothing is written: the
transactions are read-only, every route is a GET, so that no other site can make a user's browser change anything.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import psycopg
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from amop.database.conninfo import ConnectionFormError
from amop.page.queues import MESSAGE_STATES, read_messages, read_quarantine
from amop.page.savings import read_savings
from amop.page.session import read_session, read_sessions
from amop.page.session_tables import CHANGE_STATES, read_changes
from amop.page.sim import read_sim, search_sims
from amop.page.store.sessions import find_session
from amop.page.table import Order
from amop.page.today import read_today
from amop.web.access import Integrations, User, may_answer, readable_integrations
from amop.web.rendering import STATIC_TYPES, render, respond, static_file
from amop.web.warehouse import BusyError, WarehouseNotDefinedError, reading

log = logging.getLogger(__name__)

LARGEST_ID = 2**63 - 1
LAST_PAGE = 100_000
SORT = re.compile(r"-?[a-z_]{1,40}")
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

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


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="AMOP operators' page",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(readable_integrations)],
    )
    app.middleware("http")(_add_headers)
    app.exception_handler(StarletteHTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_invalid_request)
    app.exception_handler(Exception)(_unexpected_error)
    for kind in (BusyError, WarehouseNotDefinedError, ConnectionFormError, psycopg.Error):
        app.exception_handler(kind)(_warehouse_error)
    for path, view in VIEWS.items():
        app.add_api_route(path, view, methods=["GET"], response_model=None, response_class=HTMLResponse)
    return app


# --- Views ------------------------------------------------------------------------------------------------------------


def today(request: Request, integrations: Integrations, orders: Orders, csv: Csv = None) -> Response:
    """Show whether everything is fine, and what needs a person first."""
    with reading() as connection:
        view = read_today(connection, integrations=integrations, order=orders.get("today"))
    return respond(request, "today.html.j2", tables={"today": view.table}, csv=csv, view=view)


def sessions(
    request: Request,
    integrations: Integrations,
    orders: Orders,
    provider: Annotated[int | None, Query(ge=1, le=LARGEST_ID)] = None,
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
        raise _not_found(f"There is no session {session_id}.")
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
            raise _not_found(f"There is no session {session_id}.")
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
        raise _not_found("There is no such SIM.")
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


def static(name: str) -> Response:
    """Return a file that the page loads."""
    if name not in STATIC_TYPES:
        raise _not_found("There is no such file.")
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}  # the address has the version
    return Response(static_file(name), media_type=STATIC_TYPES[name], headers=headers)


def no_such_view() -> Response:
    """Answer for every other address, so that it needs a user as well."""
    raise _not_found("There is no such view.")


VIEWS: dict[str, Callable[..., Response]] = {
    "/": today,
    "/sessions": sessions,
    "/session/{session_id}": session,
    "/session/{session_id}/changes": session_changes,
    "/sims": sims,
    "/sim/{device_id}": sim,
    "/savings": savings,
    "/outbox": outbox,
    "/quarantine": quarantine,
    "/static/{name}": static,
    "/{path:path}": no_such_view,
}


def _not_found(text: str) -> HTTPException:
    return HTTPException(status.HTTP_404_NOT_FOUND, text)


# --- Errors -----------------------------------------------------------------------------------------------------------

REFUSALS = {
    status.HTTP_401_UNAUTHORIZED: ("Sign in first", "Your session has ended, or you have not signed in to Airflow."),
    status.HTTP_403_FORBIDDEN: (
        "You may not see this page",
        "It needs the right to read the device sync DAGs. Ask an administrator of Airflow.",
    ),
}


async def _add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _error(request: Request, code: int, title: str, text: str) -> Response:
    html = render(request, "error.html.j2", status_code=code, title=title, text=text)
    return HTMLResponse(html, status_code=code, headers=HEADERS)


def _http_error(request: Request, error: Exception) -> Response:
    code = getattr(error, "status_code", status.HTTP_500_INTERNAL_SERVER_ERROR)
    if code in REFUSALS:
        return _error(request, code, *REFUSALS[code])
    return _error(request, code, "Not found" if code == status.HTTP_404_NOT_FOUND else "Invalid request", error.detail)  # type: ignore[attr-defined]


def _invalid_request(request: Request, error: Exception) -> Response:
    fields = sorted({str(fault["loc"][-1]) for fault in getattr(error, "errors", list)()})
    text = f"A part of the address is not valid: {', '.join(fields)}."
    return _error(request, status.HTTP_422_UNPROCESSABLE_CONTENT, "Invalid request", text)


def _warehouse_error(request: Request, error: Exception) -> Response:
    # psycopg's messages can hold addresses and values of rows: they go to the log only.
    log.warning("The page cannot read the warehouse: %s", type(error).__name__, exc_info=error)
    if isinstance(error, BusyError):
        text = "Many views are being read at the moment. Load the page again."
    elif isinstance(error, psycopg.errors.QueryCanceled):
        text = "Reading took too long and was stopped, so that no sync is slowed down. Narrow the filter, or try again."
    elif isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        text = "The tables of the warehouse are not up to date. Run: bin/amop migrate"
    elif isinstance(error, psycopg.errors.InsufficientPrivilege):
        text = "The page's role may not read schema amop. See docs/operators-page.md."
    elif isinstance(error, WarehouseNotDefinedError | ConnectionFormError):
        text = "Airflow has no usable connection amop_warehouse. See the README, Install it on your Airflow."
    else:
        text = "The warehouse cannot be reached or read. Its log and the API server's log have the reason."
    return _error(request, status.HTTP_503_SERVICE_UNAVAILABLE, "The warehouse is not available", text)


def _unexpected_error(request: Request, error: Exception) -> Response:
    log.error("The page failed", exc_info=error)
    text = "This is a fault of the page. The API server's log has the reason."
    return _error(request, status.HTTP_500_INTERNAL_SERVER_ERROR, "Something went wrong", text)
