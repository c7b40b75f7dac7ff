"""Measures what a closed billing period really cost, beside the forecast of its optimizations.

### What it does
It runs whenever a device sync has completed (it is scheduled on the assets `amop_devices_<integration>`), beside the
daily sync and never in its way. **find_closed_periods** finds the completed optimizations whose billing period has
closed and whose provider has completed a sync of a later period: from then on the usage of the closed period no longer
changes. Usually there are none, and the run ends there. **measure_savings**, once per provider, computes the bill of
the whole fleet twice with the *real* usage of the period, once on the plans before the optimization and once with the
plan changes that were applied within the period, and writes one row to `amop.realised_saving`:

* `realised_saving` = `old_plans_cost` - `applied_plans_cost`; `forecast_saving` is the forecast for the same changes.
  Where nothing was applied both are 0.
* `projection_error`: (projected - real) / real usage of the fleet; `weighted_error`: the sum of |projected - real| over
  the SIMs / real usage.
* `usage_read_at`: the real usage is known until this moment. Later usage of the period was never read and is not in
  the row.

Prices and terms are those of the optimization, even where the reference data has changed since. An optimization that
was run after its period had ended forecast nothing and is not measured.

### How to run it
It starts automatically. *Trigger* it after a failure; it does whatever is missing. To measure an optimization again,
delete its row from `amop.realised_saving` and trigger. `bin/amop status` shows the result.

### When it fails
The error names the provider, the optimization and, where one SIM is the cause, the SIM: usually a counter of the closed
period that is too large for any bill. The other optimizations are measured, and no sync is affected. After a passing
fault of the warehouse, trigger it again.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, AssetAny

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.tasks.realised_savings import find_closed_periods, measure_savings
from amop.tasks.results import required
from amop.tasks.retries import RETRIES

with DAG(
    dag_id=ids.REALISED_SAVINGS_DAG,
    dag_display_name="Realised savings",
    description="Bills closed periods with their real usage: the realised saving and the projection error.",
    doc_md=__doc__,
    schedule=AssetAny(
        *(Asset(ids.devices_asset(name)) for name, known in INTEGRATIONS.items() if known.supports_optimization)
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.SAVINGS_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
    tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
):
    measure_savings.expand(provider=required(find_closed_periods()))
