"""What the buttons of the page do. Each answers with its view, so that the browser shows the new state."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from amop.database.connection import WarehouseConnection, transaction
from amop.device_sync.quarantine import QuarantineFilter
from amop.device_sync.quarantine_retry import retry_records
from amop.device_sync.store import records
from amop.findings import store as finding_store
from amop.page.store.today import moment
from amop.page.what_if import check_form
from amop.web.access import Askable, Changeable, Integrations, User, user_name
from amop.web.errors import not_found
from amop.web.views import (
    LARGEST_ID,
    Dismissed,
    Id,
    Orders,
    Page,
    Provider,
    Resolved,
    Search,
    findings,
    show_quarantine,
)
from amop.web.warehouse import reading, writing, writing_turn

LONGEST_FORM = 1_000_000
"""Characters of a field; the rules of the table are stricter and say so beside it."""


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


def retry_record(
    request: Request,
    integrations: Integrations,
    changeable: Changeable,
    orders: Orders,
    record_id: Id,
    resolved: Resolved = "",
    q: Search = "",
    page: Page = 1,
) -> Response:
    """Validate a quarantined record again, merge it if it is valid now, and show the others."""
    with writing_turn() as conninfo:
        with transaction(conninfo, application_name="amop page") as connection:
            now = moment(connection)
            _require_record(connection, record_id, changeable)
        outcomes = retry_records(conninfo, QuarantineFilter(ids=[record_id]), now=now)
    reasons = [outcome.reason for outcome in outcomes if not outcome.is_merged]
    said = f"Record {record_id} " + (f"stays in quarantine: {reasons[0]}." if reasons else "is resolved.")
    return show_quarantine(request, integrations, changeable, orders, resolved, q, page, said=said)


def accept_record(
    request: Request,
    user: User,
    integrations: Integrations,
    changeable: Changeable,
    orders: Orders,
    record_id: Id,
    resolved: Resolved = "",
    q: Search = "",
    page: Page = 1,
) -> Response:
    """Accept that a quarantined record cannot be used, and show the others."""
    with writing() as connection:
        _require_record(connection, record_id, changeable)
        resolution = f"accepted by {user_name(user)}"
        records.resolve_records(connection, ids=[record_id], resolution=resolution, now=moment(connection))
    said = f"Record {record_id} is accepted: it is open no longer. A later sync may quarantine its SIM again."
    return show_quarantine(request, integrations, changeable, orders, resolved, q, page, said=said)


class WhatIfRequest(BaseModel):
    """The form of a what-if as the browser sends it."""

    service_provider_id: int = Field(ge=1, le=LARGEST_ID)
    rate_plans: str = Field(max_length=LONGEST_FORM)
    ladder_size: str = Field(max_length=LONGEST_FORM)


def check_what_if(integrations: Integrations, askable: Askable, form: WhatIfRequest) -> Response:
    """Answer what is wrong with the form of a what-if, by field, before Airflow is asked to start it; write nothing."""
    with reading() as connection:
        faults = check_form(
            connection,
            askable=[name for name in askable if name in integrations],
            service_provider_id=form.service_provider_id,
            rate_plans=form.rate_plans,
            ladder_size=form.ladder_size,
        )
    if faults is None:
        raise not_found("There is no such provider, or you may not start a what-if of it.")
    return JSONResponse({"faults": faults})


def _require_record(connection: WarehouseConnection, record_id: int, changeable: list[str]) -> None:
    if records.find_open_record(connection, record_id=record_id, integrations=changeable) is None:
        raise not_found("There is no such open record any more, or you may not change it.")


ACTIONS: dict[str, Callable[..., Response]] = {
    "/findings/{finding_id}/dismiss": dismiss_finding,
    "/findings/{finding_id}/restore": restore_finding,
    "/quarantine/{record_id}/retry": retry_record,
    "/quarantine/{record_id}/accept": accept_record,
    "/what-if/check": check_what_if,
}
"""Routes of the buttons, all of them POST."""
