-- Purpose: write the realised saving of one instance in its closed billing period.
-- Parameters: instance_id, usage_read_at, applied_changes, forecast_saving, old_plans_cost, applied_plans_cost,
--   solved_plans_cost (null without an interval), is_within_interval (likewise), projected_usage_mb, real_usage_mb,
--   absolute_error_mb, now.
-- Locks: the new row.
-- Repeatable: yes; there is one row per instance, and the first one stays.
INSERT INTO amop.realised_saving (
    instance_id, usage_read_at, applied_changes, forecast_saving, old_plans_cost, applied_plans_cost, realised_saving,
    solved_plans_cost, is_within_interval,
    projected_usage_mb, real_usage_mb, absolute_error_mb, projection_error, weighted_error, measured_at
)
VALUES (
    %(instance_id)s,
    %(usage_read_at)s,
    %(applied_changes)s,
    %(forecast_saving)s,
    %(old_plans_cost)s::numeric,
    %(applied_plans_cost)s::numeric,
    %(old_plans_cost)s::numeric - %(applied_plans_cost)s::numeric,
    %(solved_plans_cost)s::numeric,
    %(is_within_interval)s::boolean,
    %(projected_usage_mb)s::numeric,
    %(real_usage_mb)s::numeric,
    %(absolute_error_mb)s::numeric,
    (%(projected_usage_mb)s::numeric - %(real_usage_mb)s::numeric) / nullif(%(real_usage_mb)s::numeric, 0),
    %(absolute_error_mb)s::numeric / nullif(%(real_usage_mb)s::numeric, 0),
    %(now)s
)
ON CONFLICT (instance_id) DO NOTHING
