"""The tasks of ``realised_savings``."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from amop import time_limits
from amop.tasks.connections import warehouse_conninfo, warehouse_now


@task(execution_timeout=time_limits.BRIEF_TASK)
def find_closed_periods() -> list[dict[str, Any]]:
    """Find the providers with completed optimizations of a closed billing period that were not measured yet."""
    from amop.savings.realised import providers_to_measure

    return providers_to_measure(warehouse_conninfo(), now=warehouse_now())


@task(
    map_index_template="{{ task.op_kwargs['provider']['service_provider_name'] }}",
    execution_timeout=time_limits.SAVINGS_TASK,
    doc_md="Bill the closed periods of one provider with and without the applied plan changes; store the saving.",
)
def measure_savings(provider: dict[str, Any]) -> dict[str, int]:
    """Bill the closed periods of one provider with and without the applied plan changes; store the saving."""
    from amop.savings.realised import measure_provider

    return measure_provider(warehouse_conninfo(), provider["service_provider_id"], now=warehouse_now())
