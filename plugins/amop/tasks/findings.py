"""The tasks of ``findings``."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from amop import time_limits
from amop.tasks.connections import warehouse_conninfo, warehouse_now


@task(execution_timeout=time_limits.BRIEF_TASK)
def find_providers_to_check() -> list[dict[str, Any]]:
    """Find the providers with a complete sync that was not checked yet."""
    from amop.findings.check import providers_to_check

    return providers_to_check(warehouse_conninfo())


@task(
    map_index_template="{{ task.op_kwargs['provider']['service_provider_name'] }}",
    execution_timeout=time_limits.BULK_TASK,
    doc_md="Find what is unusual about the SIMs and pools of one provider; store the findings with the most money.",
)
def check_provider(provider: dict[str, Any]) -> dict[str, int]:
    """Find what is unusual about the SIMs and pools of one provider; store the findings with the most money."""
    from amop.findings import check

    return check.check_provider(warehouse_conninfo(), provider["service_provider_id"], now=warehouse_now())
