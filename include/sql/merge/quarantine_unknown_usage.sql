-- Purpose: usage of a SIM that the provider's device list does not know moves from staging to quarantine: not lost.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the moved rows.
-- Repeatable: what has moved is no longer in staging; one row per run and usage record.
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

INSERT INTO amop.device_quarantine (
    run_id, kind, source, record_key, raw, reason, iccid, usage_type, rate_plan_code, rate_plan_version, page_number,
    row_number, quarantined_at
)
SELECT
    moved.run_id,
    'usage',
    'rate_plan_usage',
    concat_ws(
        ':', moved.iccid, moved.usage_type, moved.rate_plan_code, moved.rate_plan_version,
        moved.page_number || '.' || moved.row_number
    ),
    jsonb_build_object('deviceId', moved.iccid, 'zone', moved.zone, 'usage', moved.usage),
    'the device list does not name this ICCID',
    moved.iccid,
    moved.usage_type,
    moved.rate_plan_code,
    moved.rate_plan_version,
    moved.page_number,
    moved.row_number,
    %(now)s
FROM moved
ON CONFLICT DO NOTHING
