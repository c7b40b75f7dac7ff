"""Keeps savings honest: what a closed billing period really cost, beside what its optimizations forecast.

### What it does
It runs whenever a device sync has completed (it is scheduled on the assets `amop_devices_<integration>`), beside the
daily sync and never in its way. **find_closed_periods** looks for completed optimizations whose billing period has
closed and whose provider has completed a sync of a later period: from then on nothing is added to the closed period's
usage. Usually there are none, and the run ends there. **measure_savings**, once per provider, bills the whole fleet of
each such optimization twice with the *real* usage of the period, on the plans of before and with the plan changes that
were applied within the period, and writes one row to `amop.realised_saving`:

* `realised_saving` = `old_plans_cost` - `applied_plans_cost`; `forecast_saving` is what the same changes were forecast
  to save. Where nothing was applied both are 0.
* `projection_error`: (projected - real) / real usage of the fleet; `weighted_error`: sum of |projected - real| of the
  SIMs / real usage.
* `usage_read_at`: until when the real usage is known. Later usage of the period was never read and is not in the row.

Prices and terms are those that the optimization was solved with, also where the reference data has changed since. An
optimization of a period that was over already is a look back, forecast nothing and is not measured.

### How to run it
By itself. *Trigger* it by hand after a failure; it does whatever is missing. To measure an optimization again delete
its row from `amop.realised_saving` and trigger. `bin/amop status` shows the result.

### When it fails
The error names provider, optimization and, where it is about one, the SIM: usually a counter of the closed period that
is beyond any bill. The other optimizations were measured all the same, and no sync is touched. After a passing fault of
the warehouse trigger it again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, AssetAny

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.orchestration.realised_savings import find_closed_periods, measure_savings

with DAG(
    dag_id=ids.REALISED_SAVINGS_DAG,
    dag_display_name="Realised savings",
    description="Bills closed periods with their real usage: what was saved, and how good the projection was.",
    doc_md=__doc__,
    schedule=AssetAny(
        *(Asset(ids.devices_asset(name)) for name, known in INTEGRATIONS.items() if known.supports_optimization)
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.SAVINGS_RUN,
    default_args={
        "owner": ids.OWNER,
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
    },
    tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
):
    measure_savings.expand(provider=find_closed_periods())
