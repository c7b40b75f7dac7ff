"""The tasks of ``realised_savings``: the use cases, given to Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import task

from amop import time_limits
from amop.orchestration.connections import warehouse_conninfo
from amop.orchestration.failures import recorded_failure


@task(execution_timeout=time_limits.BRIEF_TASK)
def find_closed_periods() -> list[dict[str, Any]]:
    """Find the providers with completed optimizations of a closed billing period that were not measured yet."""
    from amop.pipeline.realised_savings import providers_to_measure

    with recorded_failure():
        return providers_to_measure(warehouse_conninfo(), now=datetime.now(UTC))


@task(
    map_index_template="{{ task.op_kwargs['provider']['service_provider_name'] }}",
    execution_timeout=time_limits.SAVINGS_TASK,
    doc_md="Bill the closed periods of one provider with and without the applied plan changes; write what was saved.",
)
def measure_savings(provider: dict[str, Any]) -> dict[str, int]:
    """Bill the closed periods of one provider with and without the applied plan changes; write what was saved."""
    from amop.pipeline.realised_savings import measure_provider

    with recorded_failure():
        return measure_provider(warehouse_conninfo(), provider["service_provider_id"], now=datetime.now(UTC))
