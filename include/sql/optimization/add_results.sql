-- Purpose: write one result row per billed SIM: old plan, new plan, usage, its share of both bills, and the reason.
-- Parameters: instance_id, a_change_counts (whether any plan change counts in the period), currency of the amounts, and
--   the words of each reason (amop.optimization.assignment_reasons). Needs device_cost.
-- Locks: the new rows.
-- Repeatable: yes, in one transaction after the old rows were deleted.
INSERT INTO amop.optimization_device_result (
    instance_id, device_id, from_rate_plan, to_rate_plan, usage_mb, projected_usage_mb, from_cost, to_cost, reason
)
SELECT
    sim.instance_id,
    sim.device_id,
    sim.current_rate_plan,
    plan.rate_plan_code,
    sim.usage_mb,
    sim.projected_usage_mb,
    cost.from_cost * 0.000001,
    cost.to_cost * 0.000001,
    CASE
        WHEN sim.kept_reason = 'retired' THEN %(kept_retired)s
        WHEN sim.kept_reason = 'sms_not_read' THEN %(kept_sms_not_read)s
        WHEN sim.kept_reason IS NOT NULL THEN %(kept_not_placed)s
        WHEN sim.change_limit = 'change_in_doubt' THEN %(kept_change_in_doubt)s
        WHEN sim.change_limit = 'maximum_changes_per_sim' THEN %(kept_change_count)s
        WHEN sim.change_limit = 'minimum_days_on_plan' THEN %(kept_days_on_plan)s
        WHEN
            sim.current_rate_plan_id = plan.id
            AND (NOT %(a_change_counts)s OR plan.id <> all(comm_group.rate_plan_ids))
            THEN %(kept_next_cycle)s
        WHEN sim.current_rate_plan_id = plan.id AND cardinality(comm_group.rate_plan_ids) = 1 THEN %(kept_only_plan)s
        WHEN sim.current_rate_plan_id = plan.id THEN %(kept_cheapest)s
        WHEN sim.current_rate_plan IS NULL THEN %(set_unknown)s
        WHEN present.id IS NULL THEN %(set_not_in_reference)s
        WHEN present.is_retired THEN %(moved_retired)s
        WHEN present.id <> all(comm_group.rate_plan_ids) THEN %(moved_not_allowed)s
        WHEN cost.to_cost < cost.from_cost
            THEN
                %(moved_saves)s || ' ' || %(currency)s || ' '
                || to_char((cost.from_cost - cost.to_cost) * 0.000001, 'FM999,999,999,999,990.00')
        WHEN plan.allows_sim_pooling THEN %(moved_for_pool)s
        ELSE %(moved_for_bill)s
    END
FROM device_cost AS cost
INNER JOIN amop.optimization_device AS sim
    ON cost.device_id = sim.device_id AND sim.instance_id = %(instance_id)s
INNER JOIN amop.optimization_comm_group AS comm_group ON sim.comm_group_id = comm_group.id
INNER JOIN amop.optimization_solved_assignment AS solved
    ON cost.device_id = solved.device_id AND solved.instance_id = %(instance_id)s
INNER JOIN amop.carrier_rate_plan AS plan ON solved.rate_plan_id = plan.id
LEFT JOIN amop.carrier_rate_plan AS present ON sim.current_rate_plan_id = present.id
