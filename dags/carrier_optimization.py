"""Rate plan optimization of one service provider: one DAG per integration, without a schedule.

### What it does
For one provider and one period it finds the rate plans that make the carrier's bill least, and proves how close it is:

1. **open_instance** takes the session that the device sync opened, or opens one (AMOP 0 and 20 %).
2. **group_communication_plans** puts communication plans that allow the same rate plans into comm groups.
3. **validate_groups** decides the outcome of each group, and ends the run where a rate plan cannot be billed.
4. **project_usage** projects the usage of the eligible SIMs (active, with usage, or activated in the period) to the
   period's end: from three days or more of daily history, else by the elapsed time (30 %).
5. **assign_base** computes the cost of today's plans and of the base assignment (40 %); **solve** optimizes the whole
   provider at once, pools included, and verifies its proof (50 %).
6. **write_results** stores plan and cost of every SIM and *proposes* the changes. **write_workbook** writes them to
   S3; **publish_report** ends the session (100 %); **mail_report** mails totals and links once. Both are skipped where
   a Variable is unset, or S3 or SES fail: the result has a `warning`, and `amop_relay` delivers them later.
7. **plan_changes** decides on the proposals: doubtful ones may wait for a later optimization (`doubtful_changes`); the
   others are only proposed (settings or *Apply changes* forbid more), no go (too little time), approved, or
   **approve_changes** requests approval (*Required Actions*, `bin/amop approvals`, and by e-mail);
   **record_approval** records the answer. A newer optimization withdraws older proposals and requests.
8. **apply_changes** moves each SIM that is still on its old plan: it reads the SIM, or the carrier's list of modified
   SIMs, whichever takes fewer calls. **verify_changes** reads all back by that list, or else 50 of them.

### How to run it
`device_sync_<integration>` starts it automatically, as run `session_<session id>`. To start it by hand, *Trigger* it
with the provider's id; without a session one is opened. Several providers may run side by side; a second run of one
provider fails at once and names the running session. The form takes **any billing period**, also a closed one: then
it uses that period's daily usage (`amop.device_usage`), no projection, and the plans of that time where known.

### Reading the result
`amop.optimization_instance` has the totals, the proven `lower_bound`, the gap and any `warning`;
`amop.optimization_comm_group` has the outcome of each group: `optimized`, `base_only` (one plan only),
`no_plans`, `limit_exceeded`, `no_devices`, `invalid_plan`. SIMs of groups that are neither `optimized` nor `base_only`
keep their present plan (`amop.optimization_device_excluded` says why, of each) and are billed on it. Per SIM:
`amop.optimization_device_result`, or the workbook. The outcome of the proposals: `changes_status` and `changes_reason`
of the instance, and per SIM `amop.rate_plan_change`; the next sync confirms them in `amop.device`.

### When it fails
An error of the data (the log names provider, rate plan or SIM) fails at once, ends the session with one ErrorMessage to
AMOP, and is stored in `amop.optimization_instance.error`. Fix the cause and **clear `open_instance`** with downstream,
which opens a new session. From **plan_changes** on clear the failed task: it resumes with the approved changes.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.tasks.carrier_optimization import optimization_steps
from amop.tasks.provider_names import provider_param
from amop.tasks.retries import RETRIES


def _optional_id(title: str, description: str) -> Param:
    return Param(
        None, type=["null", "integer"], minimum=1, maximum=ids.LARGEST_ID, title=title, description=description
    )


PROVIDER = "Required: id of the provider, as `bin/amop status` shows it; one of this integration."
PARAMS = {
    "billing_period_id": _optional_id(
        "Billing period",
        "One of its periods (amop.billing_period), past ones too; empty = the session's, or the current.",
    ),
    "optimization_session_id": _optional_id(
        "Optimization session",
        "Id of the running session to continue, opened by a device sync; empty = open one.",
    ),
    "apply_changes": Param(
        "provider_setting",
        enum=["provider_setting", "never"],
        title="Apply changes",
        description="Apply as the provider's settings allow, or never (only propose; an open approval stays).",
    ),
}

for integration in INTEGRATIONS.values():
    if not integration.supports_optimization:
        continue
    with DAG(
        dag_id=ids.carrier_optimization_dag(integration.name),
        dag_display_name=f"Optimization: {integration.display_name}",
        description=f"Finds the cheapest rate plans for the SIMs of one provider on {integration.display_name}.",
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=False,  # it runs only when triggered, and a paused one would fail the sync
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=100,  # a run that awaits approval is active too, and must not block others
        dagrun_timeout=time_limits.OPTIMIZATION_RUN,
        default_args={"owner": ids.OWNER, **RETRIES},
        params={"service_provider_id": provider_param(integration.name, PROVIDER, types=["null", "integer"]), **PARAMS},
        tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
    ) as dag:
        optimization_steps(integration.name)
