"""Build the bodies of the callbacks to AMOP 2.0."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.foreign_text import storable_error

MAXIMUM_ERROR_LENGTH = 2000
"""Longest ErrorMessage in characters; the full text is in the task's log."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """The fields that every message of an optimization session carries."""

    session_id: int
    session_guid: str
    service_provider_id: int
    tenant_id: int
    billing_period_id: int
    cycle_start: datetime
    cycle_end: datetime
    device_count: int
    """SIMs of the instance once it is open, the provider's active SIMs before that."""


def progress_message(facts: SessionFacts, progress: int) -> dict[str, Any]:
    """Return the body of a progress message; ``progress`` in percent."""
    return _session_message(facts, "Progress", "/get_optimization_progress_bar_data", progress=progress, error=None)


def error_message(facts: SessionFacts, text: str) -> dict[str, Any]:
    """Return the body of the ErrorMessage that ends a session."""
    return _session_message(
        facts, "ErrorMessage", "/get_optimization_error_details_data", progress=0, error=error_text(text)
    )


def error_text(text: str) -> str:
    """Return an error's text in a form that AMOP and PostgreSQL accept: valid Unicode, not empty, of limited length."""
    is_visible = any(character.isprintable() and not character.isspace() for character in text)
    clean = storable_error(text) if is_visible else ""
    if len(clean) > MAXIMUM_ERROR_LENGTH:
        clean = clean[: MAXIMUM_ERROR_LENGTH - 1] + "…"
    return clean or "The optimization failed without an error message; see the log of its task"


def daily_sync_notice(key_name: str, tenant_id: int, tenant_name: str) -> dict[str, Any]:
    """Return the body of a daily-sync notice; ``key_name`` belongs to the provider's integration."""
    return {"data": {"key_name": key_name, "tenant_id": str(tenant_id), "tenant_name": tenant_name}}


def _session_message(
    facts: SessionFacts, job_name: str, path: str, *, progress: int, error: str | None
) -> dict[str, Any]:
    return {
        "data": {
            "path": path,
            "job_name": job_name,
            "SessionId": str(facts.session_id),
            "OptimizationSessionGuid": facts.session_guid,
            "ErrorMessage": error,
            "Progress": progress,
            "CustomerId": "",
            "AdditionalJson": _additional_json(facts),
            "DeviceCount": facts.device_count,
        }
    }


def _additional_json(facts: SessionFacts) -> str:
    """Return the JSON string that every message of a session contains."""
    return json.dumps(
        {
            "data": {
                "BillPeriodId": facts.billing_period_id,
                "SiteId": 0,
                "ServiceProviderId": facts.service_provider_id,
                "OptimizationType": 0,
                "OptimizationFrom": "group",
                "BillingPeriodStartDate": facts.cycle_start.isoformat(),
                "BillingPeriodEndDate": facts.cycle_end.isoformat(),
                "DeviceCount": facts.device_count,
                "TenantId": facts.tenant_id,
            }
        }
    )
