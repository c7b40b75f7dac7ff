"""Who may see what: Airflow's auth manager decides, and nothing is shown where it does not answer.

A user sees the providers of the integrations whose device sync DAG the user may read, those of a carrier that only the
existing system reads with the right to read DAG ``device_notification``, and nothing without any. Findings
are dismissed by users who may change runs of that DAG. An approval may be answered by a user who may answer the
requests of the integration's optimization DAG.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, HTTPException, Request, status

from amop import ids
from amop.config import INTEGRATIONS, KNOWN_INTEGRATIONS

User = Annotated[Any, Depends(get_user)]
"""The signed-in user; 401 without one."""


def readable_integrations(request: Request, user: User) -> list[str]:
    """Return the names of the integrations that the signed-in user may see.

    Raises:
        HTTPException: 401 without a user, 403 for a user who may see none.
    """
    allowed = [name for name in INTEGRATIONS if _may(request, user, "GET", ids.device_sync_dag(name))]
    others = KNOWN_INTEGRATIONS.keys() - INTEGRATIONS.keys()
    if others and _may(request, user, "GET", ids.DEVICE_NOTIFICATION_DAG):
        allowed += sorted(others)
    if not allowed:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden")
    return allowed


Integrations = Annotated[list[str], Depends(readable_integrations)]


def may_answer(request: Request, user: User, integration: str) -> bool:
    """Return whether the user may answer the approval requests of an integration."""
    return _may(request, user, "PUT", ids.carrier_optimization_dag(integration), DagAccessEntity.HITL_DETAIL)


def changeable_integrations(request: Request, user: User) -> list[str]:
    """Return the names of the integrations whose findings and records the user may change.

    That is the right to change runs of the integration's device sync: who may clear its tasks, may do this.
    """
    return [name for name in INTEGRATIONS if _may(request, user, "PUT", ids.device_sync_dag(name), DagAccessEntity.RUN)]


def askable_integrations(request: Request, user: User) -> list[str]:
    """Return the names of the integrations whose what-ifs the user may start; Airflow's API checks it again."""
    return [
        name
        for name, known in INTEGRATIONS.items()
        if known.supports_optimization and _may(request, user, "POST", ids.what_if_dag(name), DagAccessEntity.RUN)
    ]


Askable = Annotated[list[str], Depends(askable_integrations)]
Changeable = Annotated[list[str], Depends(changeable_integrations)]


def user_name(user: User) -> str:
    """Return the name under which the audit log knows the user."""
    return str(user.get_name())


class ForeignRequestError(HTTPException):
    """A button's request did not come from the page itself; the user's rights are not what is missing."""

    def __init__(self) -> None:
        super().__init__(
            status.HTTP_403_FORBIDDEN,
            "Only the page itself may press its buttons: open it in a browser and press the button there. A script "
            "must send the header HX-Request: true, and no Origin or Sec-Fetch-Site of another site.",
        )


def require_own_page(request: Request) -> None:
    """Refuse a request that a page of another site could have sent with the user's cookie.

    htmx sends a header of its own, which a form cannot, and another site's script only with Airflow's consent (CORS);
    browsers say where a request comes from.

    Raises:
        ForeignRequestError: the request may come from elsewhere.
    """
    origin = request.headers.get("Origin")
    if (
        request.headers.get("HX-Request") != "true"
        or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
        or (origin is not None and urlsplit(origin).netloc != request.headers.get("Host"))
    ):
        raise ForeignRequestError


def _may(
    request: Request,
    user: User,
    method: Literal["GET", "POST", "PUT"],
    dag_id: str,
    entity: DagAccessEntity | None = None,
) -> bool:
    try:
        requires_access_dag(method, entity, dag_id)(request, user)
    except HTTPException as refusal:
        if refusal.status_code == status.HTTP_403_FORBIDDEN:
            return False
        raise
    return True
