-- Purpose: record what a list of modified SIMs shows about the plan changes of an instance: an unsent one is to be read
--   first; an applied one is verified if the list shows the target plan, else it is to be read back alone.
-- Parameters: instance_id, iccids (text[]) and rate_plans (text[], null = none) of the listed SIMs, now.
-- Locks: the rows.
-- Repeatable: yes; rows that say so already are not written again.
UPDATE amop.rate_plan_change AS change
SET
    is_read_first = change.is_read_first OR change.state = 'approved',
    verified_at = CASE
        WHEN change.state = 'applied' AND listed.rate_plan = change.to_rate_plan THEN %(now)s::timestamptz
    END,
    verified_rate_plan = CASE
        WHEN change.state = 'applied' AND listed.rate_plan = change.to_rate_plan THEN listed.rate_plan
    END
FROM unnest(%(iccids)s::text[], %(rate_plans)s::text[]) AS listed (iccid, rate_plan)
INNER JOIN amop.device AS device ON listed.iccid = device.iccid
WHERE
    change.instance_id = %(instance_id)s
    AND change.device_id = device.id
    AND (
        (change.state = 'approved' AND NOT change.is_read_first)
        OR (
            change.state = 'applied'
            AND (listed.rate_plan IS NOT DISTINCT FROM change.to_rate_plan) <> (change.verified_at IS NOT NULL)
        )
    )
