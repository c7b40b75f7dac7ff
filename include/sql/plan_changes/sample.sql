-- Purpose: return the applied plan changes of an instance to read back from the carrier: always the same ones, spread
--   over the fleet by a hash of the ICCID.
-- Parameters: instance_id, sample_size.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    sampled.id,
    sampled.iccid,
    sampled.to_rate_plan,
    sampled.sent_at
FROM (
    SELECT
        change.id,
        device.iccid,
        change.to_rate_plan,
        change.sent_at,
        change.verified_at
    FROM amop.rate_plan_change AS change
    INNER JOIN amop.device AS device ON change.device_id = device.id
    WHERE change.instance_id = %(instance_id)s AND change.applied_at IS NOT NULL
    ORDER BY md5(device.iccid), change.id
    LIMIT %(sample_size)s
) AS sampled
WHERE sampled.verified_at IS NULL
ORDER BY sampled.id
