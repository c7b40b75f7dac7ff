-- Purpose: settle the plan changes of superseded sessions that were sent and whose outcome is not known: nothing asks
--   the carrier for them any more. A list of the carrier that was begun after the write, and merged, has the SIM's
--   plan.
-- Parameters: longest_write (interval between the moment that is stored and the end of the write).
-- Locks: the rows.
-- Repeatable: yes; a change that is settled is not found again.
UPDATE amop.rate_plan_change AS change
SET
    state = found.state,
    applied_at = CASE found.state WHEN 'applied' THEN change.sent_at END,
    error = CASE
        WHEN found.state <> 'applied'
            THEN 'the outcome was not known; a later list has the SIM on plan ' || coalesce(found.rate_plan, 'unknown')
    END
FROM (
    SELECT
        sent.id,
        device.rate_plan,
        CASE
            WHEN device.rate_plan = sent.to_rate_plan THEN 'applied'
            WHEN device.rate_plan = sent.from_rate_plan THEN 'failed'
            ELSE 'conflict'
        END AS state
    FROM amop.rate_plan_change AS sent
    INNER JOIN amop.optimization_instance AS instance ON sent.instance_id = instance.id
    INNER JOIN amop.device AS device ON sent.device_id = device.id
    WHERE
        sent.state = 'approved'
        AND sent.sent_at IS NOT NULL
        AND instance.changes_status = 'superseded'
        AND EXISTS (
            SELECT FROM amop.device_sync_run AS run
            WHERE
                run.service_provider_id = device.service_provider_id
                AND run.devices_merged_at IS NOT NULL
                AND run.replayed_run_id IS NULL
                AND run.started_at > sent.sent_at + %(longest_write)s::interval
        )
) AS found
WHERE change.id = found.id AND change.state = 'approved'
