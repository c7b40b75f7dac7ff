-- Purpose: list the ended instances of billing periods that closed before a moment and that still have rows per SIM,
--   and those whose deletion was interrupted. An instance with a running session or with undecided or unsent plan
--   changes is kept.
-- Parameters: before.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT instance.id
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
WHERE
    instance.run_status <> 'running'
    AND session.status <> 'running'
    AND instance.ended_at < %(before)s
    AND period.cycle_end < %(before)s
    AND NOT EXISTS (
        SELECT 1 FROM amop.rate_plan_change AS change
        WHERE change.instance_id = instance.id AND change.state IN ('proposed', 'approved')
    )
    AND (
        instance.devices_removed_at IS NULL
        OR EXISTS (SELECT 1 FROM amop.optimization_device AS sim WHERE sim.instance_id = instance.id)
        OR EXISTS (SELECT 1 FROM amop.optimization_base_assignment AS sim WHERE sim.instance_id = instance.id)
        OR EXISTS (SELECT 1 FROM amop.optimization_solved_assignment AS sim WHERE sim.instance_id = instance.id)
        OR EXISTS (SELECT 1 FROM amop.optimization_device_forecast AS sim WHERE sim.instance_id = instance.id)
        OR EXISTS (SELECT 1 FROM amop.optimization_device_result AS sim WHERE sim.instance_id = instance.id)
        OR EXISTS (SELECT 1 FROM amop.optimization_device_excluded AS sim WHERE sim.instance_id = instance.id)
    )
ORDER BY instance.id
