"""Finds what is unusual about SIMs and pools after a sync, each with its money and one reversible action.

### What it does
It runs whenever a device sync has completed (it is scheduled on the assets `amop_devices_<integration>`), beside the
daily sync and never in its way. **find_providers_to_check** finds the providers whose latest complete sync was not
checked yet. **check_provider**, once per provider, checks for:

* usage of the last 3 days far above the SIM's own 28 days before;
* pools whose usage is heading over their allowance;
* active SIMs without any usage for 60 days;
* SIMs in other equipment (another IMEI) for at most 30 days, and SIMs whose plan another party changed in this period;
* SIMs on a plan that their communication plan does not allow;
* SIMs whose unknown activation date decides on their charges.

It stores the 20 with the most money in `amop.finding` and the number of all in `amop.finding_check`. Users see and
dismiss them on the page, view *Findings*. A dismissed one comes back only if it occurs anew, such as in another period.

### How to run it
It starts automatically. *Trigger* it after a failure; it checks whatever is missing. To check a provider again, delete
its row from `amop.finding_check` and trigger.

### When it fails
The findings of the provider stay those of the night before; no sync and no optimization is affected. After a passing
fault of the warehouse, trigger it again.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, AssetAny

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.tasks.findings import check_provider, find_providers_to_check
from amop.tasks.results import required
from amop.tasks.retries import RETRIES

with DAG(
    dag_id=ids.FINDINGS_DAG,
    dag_display_name="Findings",
    description="Finds unusual SIMs and pools after a sync, each with its money and one reversible action.",
    doc_md=__doc__,
    schedule=AssetAny(*(Asset(ids.devices_asset(name)) for name in INTEGRATIONS)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=time_limits.FINDINGS_RUN,
    default_args={"owner": ids.OWNER, **RETRIES},
    tags=[ids.TAG_AMOP, ids.TAG_DEVICE_SYNC],
):
    check_provider.expand(provider=required(find_providers_to_check()))
