"""Render the views: templates, the figures' formats, addresses within the page and in Airflow, CSV."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from fastapi import HTTPException, Request, Response, status
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from amop.page import formatting
from amop.page.table import LARGEST_EXPORT, Column, Table, as_csv
from amop.wording import NOTHING, exact_money, money, several

FOLDER = resources.files("amop.web")
FILTERS = {
    function.__name__: function
    for function in (
        money,
        exact_money,
        several,
        formatting.count,
        formatting.share,
        formatting.data,
        formatting.megabytes,
        formatting.moment,
        formatting.day,
        formatting.words,
        formatting.pool,
    )
}
"""Functions that the templates use, by name."""

STATIC_TYPES = {
    "htmx.min.js": "text/javascript",
    "page.js": "text/javascript",
    "charts.js": "text/javascript",
    "uplot.min.js": "text/javascript",
    "uplot.min.css": "text/css",
    "page.css": "text/css",
}


PAGE_NUMBER = re.compile(r"[0-9]{1,6}")


@cache
def static_file(name: str) -> bytes:
    """Return a file that the page loads."""
    return FOLDER.joinpath("static", name).read_bytes()


@cache
def version() -> str:
    """Return a text that changes with any of the files that the page loads, so that a browser may keep them."""
    return hashlib.sha256(b"".join(static_file(name) for name in STATIC_TYPES)).hexdigest()[:12]


@cache
def environment() -> Environment:
    """Return the templates; every value in them is escaped."""
    found = Environment(
        loader=FileSystemLoader(str(FOLDER.joinpath("templates"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    found.globals["cell"] = cell
    return found


def cell(column: Column[Any], row: Any, currency: str) -> Markup:
    """Return a value as the table shows it; the exact one is the element's value and title."""
    value = column.value(row)
    if value is None or value == "":
        return Markup('<span class="none">{}</span>').format(column.unknown or NOTHING)
    if column.kind == "money":
        exact = exact_money(value, currency)
        return Markup('<data value="{}" title="{}">{}</data>').format(value, exact, money(value, currency))
    if column.kind == "moment" and isinstance(value, datetime):
        return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), formatting.moment(value))
    if column.kind == "day" and isinstance(value, date):
        return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), formatting.day(value))
    if column.kind == "data":
        return Markup('<data value="{}" title="{} bytes">{}</data>').format(value, f"{value:,}", formatting.data(value))
    if column.kind == "megabytes":
        exact = f"{value:,f} MB"
        return Markup('<data value="{}" title="{}">{}</data>').format(value, exact, formatting.megabytes(value))
    if column.kind == "count" and column.link is None:
        return escape(formatting.count(value))
    if column.kind == "share":
        return Markup('<data value="{0}" title="{0}">{1}</data>').format(value, formatting.share(value))
    if column.kind == "state":
        return Markup('<span class="state state-{}">{}</span>').format(
            "".join(letter for letter in str(value) if letter.isalnum() or letter == "_"), formatting.words(str(value))
        )
    return escape(value)


def airflow_root(request: Request) -> str:
    """Return the path of Airflow itself, ending in a slash."""
    return page_root(request).removesuffix("amop/")


def page_root(request: Request) -> str:
    """Return the path of the page, ending in a slash."""
    return f"{request.scope.get('root_path', '')}/"


def respond(
    request: Request,
    template: str,
    *,
    tables: Mapping[str, Table[Any]],
    csv: str | None = None,
    **context: Any,
) -> Response:
    """Return a view as HTML, or one of its tables as CSV.

    Args:
        request: the request.
        template: file of the view.
        tables: the view's tables by name; each can be exported.
        csv: name of the table to export, None for the whole view.
        **context: further values of the template.

    Raises:
        HTTPException: 404 for a table that the view does not have.
    """
    if csv is not None:
        if csv not in tables:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "this view has no such table")
        return Response(
            as_csv(tables[csv]),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="amop-{csv}.csv"'},
        )
    return HTMLResponse(render(request, template, tables=tables, **context))


def render(request: Request, template: str, *, status_code: int = status.HTTP_200_OK, **context: Any) -> str:
    """Return a template filled in for a request."""

    def address(**changes: Any) -> str:
        query = {**request.query_params, **changes}
        kept = {name: value for name, value in query.items() if value is not None and name != "csv"}
        return f"?{urlencode(kept)}"

    def paged(table: Table[Any]) -> Table[Any]:
        wanted = request.query_params.get(f"page_{table.name}", "")
        return table.at_page(int(wanted) if PAGE_NUMBER.fullmatch(wanted) else 1)

    def export(table: str) -> str:
        return f"?{urlencode({**request.query_params, 'csv': table})}"

    return (
        environment()
        .get_template(template)
        .render(
            base=page_root(request),
            airflow=airflow_root(request),
            version=version(),
            address=address,
            export=export,
            paged=paged,
            query=request.query_params,
            status_code=status_code,
            largest_export=LARGEST_EXPORT,
            **context,
        )
    )
