"""What if: the bill of a provider's SIMs with other rate plans, beside today's.

### What it does
**compute_what_if** takes the SIMs of the provider's latest completed optimization, with the usage that it forecast, and
finds their cheapest plans twice: at today's prices, and with the rate plans of the table. Both have the bill of the
present plans, the least bill and a proven lower bound; stored are also the SIMs that would move, by plan.

* A plan in the table has the prices, size and pool that the table says. A plan that is not in the table is not offered,
  and its SIMs must move.
* A plan that the provider does not have is new. It is offered to every SIM that may change its plan, or, with
  *offered_like*, to the SIMs that may have that plan.
* With *ladder_size* = k the new plans are candidates: the bill with each choice of k of them is computed (beyond 200
  choices: step by step, each adding the plan that saves most).

Plan changes count for the whole period here and are not limited in number. A SIM whose messages were not read counts as
without messages.

### How to run it
From the page, view *What if*, which fills in the present plans; or *Trigger* with the form. Nothing at the carrier and
nothing of the provider is changed. The result is on the page and in `amop.what_if`.

### When it fails
The error names line, column and value of the table, or says that the provider must be optimized first. Correct it and
trigger a new run.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.tasks.provider_names import provider_param
from amop.tasks.retries import RETRIES
from amop.tasks.what_if import compute_what_if

PROVIDER = "Id of a provider of this integration, as `bin/amop status` shows it."
PARAMS = {
    "rate_plans": Param(
        type="string",
        format="multiline",
        minLength=1,
        maxLength=100_000,
        title="Rate plans",
        description="CSV: rate_plan_code, rate_charge, base_rate, plan_mb, overage_rate, data_per_overage_charge, "
        "sms_rate, allows_sim_pooling, pool, offered_like.",
    ),
    "ladder_size": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=50,
        title="New plans to choose",
        description="Compute the bill with each choice of this many of the new plans; empty = with all of them.",
    ),
}

for integration in INTEGRATIONS.values():
    if not integration.supports_optimization:
        continue
    with DAG(
        dag_id=ids.what_if_dag(integration.name),
        dag_display_name=f"What if: {integration.display_name}",
        description=f"Computes the bill of a provider on {integration.display_name} with other rate plans.",
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=False,  # it runs only when triggered
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=2,
        dagrun_timeout=time_limits.WHAT_IF_RUN,
        default_args={"owner": ids.OWNER, **RETRIES},
        params={"service_provider_id": provider_param(integration.name, PROVIDER, types=["integer"]), **PARAMS},
        tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
    ):
        compute_what_if(integration.name)
