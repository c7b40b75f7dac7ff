"""The bodies of the callbacks to AMOP 2.0, built from facts alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAXIMUM_ERROR_LENGTH = 2000
"""Characters of an ErrorMessage; the whole text is in the task's log."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What every message of an optimization session carries."""

    session_id: int
    session_guid: str
    service_provider_id: int
    tenant_id: int
    billing_period_id: int
    cycle_start: datetime
    cycle_end: datetime
    device_count: int
    """SIMs of the instance once it is open, before that the provider's SIMs that have not vanished."""


def progress_message(facts: SessionFacts, progress: int) -> dict[str, Any]:
    """Return the body that moves a session's progress bar; ``progress`` in percent."""
    return _session_message(facts, "Progress", "/get_optimization_progress_bar_data", progress=progress, error=None)


def error_message(facts: SessionFacts, text: str) -> dict[str, Any]:
    """Return the body that ends a session with an error."""
    return _session_message(
        facts, "ErrorMessage", "/get_optimization_error_details_data", progress=0, error=error_text(text)
    )


def error_text(text: str) -> str:
    """Return an error's text as AMOP and PostgreSQL can hold it: valid Unicode, not empty, of bounded length."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", " ").strip()
    if len(clean) > MAXIMUM_ERROR_LENGTH:
        clean = clean[: MAXIMUM_ERROR_LENGTH - 1] + "…"
    return clean or "The optimization failed without a reason; see the log of its task"


def daily_sync_notice(key_name: str, tenant_id: int, tenant_name: str) -> dict[str, Any]:
    """Return the body that says that a provider's devices were synced today; ``key_name`` is the integration's."""
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
    """Return the JSON string that AMOP finds inside every message of a session."""
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
