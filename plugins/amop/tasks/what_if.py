"""The task of ``what_if_<integration>``."""

from __future__ import annotations

from airflow.sdk import get_current_context, task

from amop import time_limits
from amop.tasks.connections import warehouse_conninfo, warehouse_now


@task(execution_timeout=time_limits.BULK_TASK)
def compute_what_if(integration: str) -> int:
    """Solve the SIMs of the provider's latest optimization with the rate plans of the form; store bill and proof."""
    from amop.what_if import compute

    context = get_current_context()
    params, dag_run = context["params"], context["dag_run"]
    return compute.compute_what_if(
        warehouse_conninfo(),
        compute.WhatIfRequest(
            integration=integration,
            service_provider_id=params["service_provider_id"],
            dag_id=dag_run.dag_id,
            dag_run_id=dag_run.run_id,
            rate_plans=params["rate_plans"],
            ladder_size=params["ladder_size"],
        ),
        now=warehouse_now(),
    )
