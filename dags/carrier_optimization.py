"""Rate plan optimization of one service provider: one DAG per integration, without a schedule.

### What it does
For one provider and one billing period it finds the rate plan of every SIM that makes the carrier's bill least, and
proves how close to the least it is:

1. **open_instance** takes the session that the device sync opened, or opens one (AMOP 0 and 20 %).
2. **group_communication_plans** puts communication plans that allow the same rate plans into comm groups (30 %).
3. **validate_groups** decides on each group, and ends the run where a rate plan cannot be billed.
4. **project_usage** projects the usage of the eligible SIMs (active, with usage, or activated in the period) to the
   period's end: from their daily history where there are three days of it, else by the elapsed time.
5. **assign_base** costs today's plans and the base assignment (40 %); **solve** optimizes the whole provider at once,
   pools included, and verifies its proof (50 %).
6. **write_results** stores plans and costs of every SIM and *proposes* the changes. **write_workbook** puts them into
   S3; **publish_report** ends the session (100 %); **mail_report** mails totals and links, once (on a last day not of
   every session). Both are skipped where a Variable is unset or S3 or SES fail for good: the result has a `warning`.
7. **plan_changes** decides on the proposals: only proposed (settings or *Apply changes* forbid more), no go (too little
   time), approved, or **approve_changes** asks a person (*Required Actions*, `bin/amop approvals`; it is mailed), whose
   answer **record_approval** writes down. A newer optimization takes older proposals and questions back.
8. **apply_changes** moves SIM after SIM that still is on the plan it was; **verify_changes** reads 50 of them back.

### How to run it
`device_sync_<integration>` starts it by itself, as run `session_<session id>`. By hand: *Trigger* with the provider's
id; without a session one is opened. Several providers may run side by side; a second run of the same provider fails at
once and names the session that is running. The form takes **any billing period**, also one that is over: then with the
usage of its days (`amop.device_usage`), no projection, and the plans that the SIMs had then, as far as they are known.

### Reading the result
`amop.optimization_instance` has the totals, the proven `lower_bound`, the gap and any `warning`;
`amop.optimization_comm_group` says per group what was done: `optimized`, `base_only` (one plan: nothing to choose),
`no_plans`, `limit_exceeded`, `no_devices`, `invalid_plan`. SIMs of groups that are neither `optimized` nor `base_only`
keep their present plan and are outside of every total: `amop.optimization_device_left_out` says why. Per SIM:
`amop.optimization_device_result`; all of it for people: the workbook. What became of the proposals: `changes_status`,
`changes_reason` of the instance, and per SIM `amop.rate_plan_change`; the next sync confirms them in `amop.device`.

### When it fails
Passing faults of the warehouse are tried again; a retry changes nothing that was done. An error of the data (the log
names provider, rate plan or SIM) fails at once, ends the session with one ErrorMessage to AMOP, and is in
`amop.optimization_instance.error`. Mend the cause and **trigger a new run**: a session that has ended is not taken up
again. From **plan_changes** on a failed task may be cleared: it goes on with the changes that are still approved.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.orchestration.carrier_optimization import optimization_steps

PARAMS = {
    "service_provider_id": Param(
        type="integer",
        minimum=1,
        title="Service provider",
        description="Id of the provider to optimize, as `bin/amop status` shows it; one of this integration.",
    ),
    "billing_period_id": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Billing period",
        description="One of its periods (amop.billing_period), past ones too; empty = the session's, or the current.",
    ),
    "optimization_session_id": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Optimization session",
        description="Id of the running session to go on with, as a device sync opens it; empty = open one.",
    ),
    "apply_changes": Param(
        "provider_setting",
        enum=["provider_setting", "never"],
        title="Apply changes",
        description="May the proposals be applied as the provider's settings say, or never (only proposed)?",
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
        is_paused_upon_creation=False,  # it runs only when it is triggered, and a paused one would fail the sync
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=100,  # a run that waits for a person is active, too, and must not keep others out
        dagrun_timeout=time_limits.OPTIMIZATION_RUN,
        default_args={"owner": ids.OWNER},
        params=PARAMS,
        tags=[ids.TAG_AMOP, ids.TAG_OPTIMIZATION],
    ) as dag:
        optimization_steps(integration.name)
