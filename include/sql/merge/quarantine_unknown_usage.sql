-- Purpose: usage of a SIM that the provider's device list does not know moves from staging to quarantine: not lost.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the moved rows.
-- Repeatable: what has moved is no longer in staging; one row per run and SIM.
WITH moved AS (
    DELETE FROM amop.device_usage_staging AS usage
    WHERE
        usage.run_id = %(run_id)s
        AND NOT EXISTS (
            SELECT 1 FROM amop.device AS device
            WHERE device.service_provider_id = %(service_provider_id)s AND device.iccid = usage.iccid
        )
    RETURNING *
)

INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason, quarantined_at)
SELECT
    moved.run_id,
    'usage',
    moved.iccid,
    jsonb_agg(
        jsonb_build_object(
            'iccid', moved.iccid, 'usageType', moved.usage_type, 'usage', moved.usage,
            'ratePlanName', moved.rate_plan_code, 'ratePlanVersion', moved.rate_plan_version
        )
    ),
    'the device list does not name this ICCID',
    %(now)s
FROM moved
GROUP BY moved.run_id, moved.iccid
ON CONFLICT DO NOTHING
