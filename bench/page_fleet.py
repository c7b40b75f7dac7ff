"""What the operators' page reads, beside the one fleet of `bench.findings`: providers, sessions, messages and records.

The large provider's optimization is a real one. The sessions before it, and all of the 99 small providers, are rows of
the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, open_instance

PROVIDERS = 100
LARGE = 1
"""Id of the provider with the large fleet."""

MODEST_CHANGES = "UPDATE amop.device SET rate_plan = 'Plan 1' WHERE service_provider_id = 1 AND id % 10 >= 3"
"""Most SIMs are on the plan that is best for most, so that about 30 % of the SIMs change."""

SMALL_PROVIDERS = """
INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)
SELECT n, 1, 1 + n %% 4, 'Provider ' || n, 'carrier_' || n, 'UTC' FROM generate_series(2, %(providers)s) AS n
"""
SMALL_FLEETS = """
INSERT INTO amop.device (service_provider_id, iccid, imsi, status, rate_plan, communication_plan, ctd_data_usage)
SELECT provider.id, (89100000000000000000 + provider.id * 1000000 + n)::text, (310000000000000 + n)::text,
 'ACTIVATED', 'Plan 1', 'Comm 1', 1000000
FROM amop.service_provider AS provider CROSS JOIN generate_series(1, 1000) AS n WHERE provider.id > 1
"""
PERIODS = """
INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
SELECT provider.id, extract(year FROM month), extract(month FROM month), month, month + interval '1 month'
FROM amop.service_provider AS provider
CROSS JOIN generate_series('2025-12-01'::timestamptz, '2026-11-01', '1 month') AS month
ON CONFLICT DO NOTHING
"""
SYNCS = """
INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id,
 usage_as_of, usage_merged_at, devices_merged_at, started_at, ended_at, pages, devices_seen, summary)
SELECT period.service_provider_id, 'device_sync_jasper', 'page ' || day, 'complete', true, period.id, day, day, day,
 day - interval '1 hour', day, 100, 1000,
 jsonb_build_object('device_count', 1000, 'cycle_data_usage', extract(day FROM day) * 1000000)
FROM amop.billing_period AS period
CROSS JOIN generate_series('2026-08-24 05:00Z'::timestamptz, '2026-11-21 05:00Z', '1 day') AS day
WHERE day >= period.cycle_start AND day < period.cycle_end
"""
SESSIONS = """
WITH opened AS (
    INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, status, progress, opened_by,
     started_at, ended_at)
    SELECT service_provider_id, id, 'complete', 100, 'carrier_optimization_jasper/page ' || id,
     cycle_end - interval '3 days', cycle_end - interval '3 days'
    FROM amop.billing_period WHERE cycle_end <= '2026-11-01' ORDER BY cycle_end
    RETURNING id
)
INSERT INTO amop.optimization_instance (session_id, run_status, device_count, current_cost, total_cost, lower_bound,
 savings, gap, changes_status)
SELECT id, 'complete_with_success', 1000, 1000, 800, 799, 200, 0.00125, 'applied' FROM opened
"""
SAVINGS = """
INSERT INTO amop.realised_saving (instance_id, applied_changes, forecast_saving, old_plans_cost, applied_plans_cost,
 realised_saving, projected_usage_mb, real_usage_mb, absolute_error_mb, projection_error, weighted_error, measured_at)
SELECT id, 100, 200, 1000, 810, 190, 1100, 1000, 120, 0.1, 0.12, '2026-11-02' FROM amop.optimization_instance
"""
MESSAGES = """
INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload, state, attempts, last_error, created_at, sent_at)
SELECT 'progress', session.id, session.id || ':' || percent, jsonb_build_object('data', jsonb_build_object(
 'Progress', percent)), CASE WHEN percent = 100 AND session.id %% 100 = 0 THEN 'dead' ELSE 'sent' END, 1,
 CASE WHEN percent = 100 AND session.id %% 100 = 0 THEN 'AMOP answered 400' END, session.started_at, session.started_at
FROM amop.optimization_session AS session CROSS JOIN unnest(ARRAY[0, 20, 30, 40, 50, 100]) AS percent
UNION ALL
SELECT 'daily_sync', NULL, 'daily_sync:' || id || ':' || service_provider_id, '{}', 'sent', 1, NULL, ended_at, ended_at
FROM amop.device_sync_run WHERE dag_run_id LIKE 'page %%'
"""
RECORDS = """
INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason, iccid, source, resolved_at, resolution)
SELECT run.id, 'device', n::text, jsonb_build_object('iccid', n), 'the ICCID has letters',
 (89000000000000000000 + run.id * 10 + n)::text, 'device_list', CASE WHEN n > 2 THEN run.ended_at END,
 CASE WHEN n > 2 THEN 'merged' END
FROM amop.device_sync_run AS run CROSS JOIN generate_series(1, 10) AS n WHERE run.dag_run_id LIKE 'page %%'
"""
FINDINGS = """
INSERT INTO amop.finding (service_provider_id, kind, subject, occurrence, amount, facts, first_found_at, last_found_at)
SELECT provider.id, 'pool_over', 'pool ' || n, '11', n, '{"sims": 2, "used_mb": "90", "allowance_mb": "100",
 "projected_mb": "180", "days_until_empty": "1.5"}', '2026-11-20', '2026-11-21'
FROM amop.service_provider AS provider CROSS JOIN generate_series(1, 20) AS n WHERE provider.id > 1
"""
CHECKS = """
INSERT INTO amop.finding_check
SELECT id, 1, '2026-11-21', '{"pool_over": {"found": 31, "amount": "410.25"}}'
FROM amop.service_provider WHERE id > 1
"""
WHAT_IFS = """
WITH asked AS (
    INSERT INTO amop.what_if (service_provider_id, dag_id, dag_run_id, instance_id, rate_plans, ladder_size, status,
     device_count, present_cost, today_cost, today_bound, new_present_cost, new_cost, new_bound, changes, started_at)
    SELECT 1, 'what_if_jasper', 'page ' || n, %(instance_id)s, repeat('Plan 1,1,0,10,0.5,1,0,false,,' || chr(10), 200),
     1, 'complete', 1000000, 40, 30, 30, 38, 25, 24, 5, '2026-11-21'
    FROM generate_series(1, 300) AS n RETURNING id
),
moved AS (
    INSERT INTO amop.what_if_move SELECT asked.id, 'Plan ' || a, 'Plan ' || b, 1000
    FROM asked CROSS JOIN generate_series(1, 20) AS a CROSS JOIN generate_series(1, 20) AS b
)
INSERT INTO amop.what_if_ladder SELECT asked.id, ARRAY['New ' || n], 25 + n, 24 + n, 5
FROM asked CROSS JOIN generate_series(1, 50) AS n
"""
APPROVAL = """
UPDATE amop.optimization_instance SET changes_status = 'waiting', changes_reason = 'more than 5 changes',
 changes_decided_by = 'amop', changes_decided_at = %(now)s, changes_deadline = %(now)s + interval '5 days',
 changes_planned_by = 'carrier_optimization_jasper/bench' WHERE id = %(instance_id)s
"""


@dataclass(frozen=True, slots=True)
class PageFleet:
    """Ids of what the views show."""

    session_id: int
    what_if_id: int
    changes: int
    """Plan changes of the session."""


def add_page(conninfo: str, *, now: datetime) -> PageFleet:
    """Add everything that the page shows to a warehouse with the fleet of `bench.findings`."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(MODEST_CHANGES)
        for statement in (SMALL_PROVIDERS, SMALL_FLEETS, PERIODS, SYNCS, SESSIONS, SAVINGS):
            connection.execute(statement, {"providers": PROVIDERS})
    session_id, instance_id, changes = _optimize(conninfo, now)
    values = {"instance_id": instance_id, "now": now}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in (MESSAGES, RECORDS, FINDINGS, CHECKS, WHAT_IFS, APPROVAL):
            connection.execute(statement.replace("{", "{").replace("}", "}"), values)
        found = connection.execute("SELECT max(id) FROM amop.what_if").fetchone()
        connection.execute("VACUUM ANALYZE")
    return PageFleet(session_id, int(found[0]) if found else 0, changes)


def _optimize(conninfo: str, now: datetime) -> tuple[int, int, int]:
    """Optimize the large provider; return the ids of session and instance, and the number of plan changes."""
    request = OptimizationRequest("jasper", "carrier_optimization_jasper/bench", LARGE)
    opened = open_instance(conninfo, request, now=now)
    instance_id = opened["instance_id"]
    inputs.group_communication_plans(conninfo, instance_id)
    inputs.validate_groups(conninfo, instance_id, now=now)
    inputs.project_usage(conninfo, instance_id)
    solve.assign_base(conninfo, instance_id)
    solve.solve(conninfo, instance_id)
    results.write_results(conninfo, instance_id)
    published = results.publish_report(conninfo, instance_id, now=now)
    return opened["session_id"], instance_id, published.changes
