"""What an error of the page looks like: what to do, and nothing of the database, the code or a connection."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
from fastapi import FastAPI, HTTPException, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from amop.database.conninfo import ConnectionFormError
from amop.web.access import ForeignRequestError
from amop.web.rendering import render
from amop.web.warehouse import BusyError, WarehouseNotDefinedError

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

REFUSALS = {
    status.HTTP_401_UNAUTHORIZED: ("Sign in first", "Your session has ended, or you have not signed in to Airflow."),
    status.HTTP_403_FORBIDDEN: (
        "You may not see this page",
        "It needs the right to read the device sync DAGs. Ask an administrator of Airflow.",
    ),
}


FAULTS = {
    "missing": "is missing",
    "string_pattern_mismatch": "has a character that is not allowed",
}
"""What is wrong with a field, by pydantic's name of the fault; the others have pydantic's own sentence."""


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
    if isinstance(error, ForeignRequestError):
        return _error(request, code, "The request did not come from this page", error.detail)
    if code in REFUSALS:
        return _error(request, code, *REFUSALS[code])
    return _error(request, code, "Not found" if code == status.HTTP_404_NOT_FOUND else "Invalid request", error.detail)  # type: ignore[attr-defined]


def _invalid_request(request: Request, error: Exception) -> Response:
    faults = dict.fromkeys(map(_fault, getattr(error, "errors", list)()))
    text = f"{'; '.join(faults)}."
    return _error(request, status.HTTP_422_UNPROCESSABLE_CONTENT, "Invalid request", text)


def _fault(fault: Mapping[str, Any]) -> str:
    """Return which field of the address or of a form is wrong, and what is wrong with it."""
    place, *names = map(str, fault["loc"])
    said = FAULTS.get(fault["type"]) or f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
    if place != "body":
        return f"{'.'.join(names)} in the address: {said}"
    if fault["type"] == "json_invalid" or not names:
        return "The form must be a JSON object with all of its fields"
    return f"Field {'.'.join(names)} of the form: {said}"


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


def add_error_pages(app: FastAPI) -> None:
    """Let every error of the application have a page, and every answer the page's headers."""
    app.middleware("http")(_add_headers)
    app.exception_handler(StarletteHTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_invalid_request)
    app.exception_handler(Exception)(_unexpected_error)
    for kind in (BusyError, WarehouseNotDefinedError, ConnectionFormError, psycopg.Error):
        app.exception_handler(kind)(_warehouse_error)


def not_found(text: str) -> HTTPException:
    """Return the error for what does not exist, or not for this user."""
    return HTTPException(status.HTTP_404_NOT_FOUND, text)
