-- Purpose: move usage that cannot be merged from staging to quarantine: of a SIM that is not in the provider's device
--   list, or whose records add up to more than a bigint holds.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the moved rows.
-- Repeatable: moved rows are no longer in staging; one row per run and usage record.
WITH unusable AS (
    SELECT
        usage.iccid,
        usage.usage_type,
        CASE
            WHEN device.id IS NULL THEN 'the device list does not contain this ICCID'
            ELSE 'usage adds up beyond bigint'
        END AS reason
    FROM amop.counted_usage AS usage
    LEFT JOIN amop.device AS device
        ON device.service_provider_id = %(service_provider_id)s AND usage.iccid = device.iccid
    WHERE usage.run_id = %(run_id)s AND (device.id IS NULL OR usage.usage > 9223372036854775807)
),

moved AS (
    DELETE FROM amop.device_usage_staging AS usage
    USING unusable
    WHERE usage.run_id = %(run_id)s AND usage.iccid = unusable.iccid AND usage.usage_type = unusable.usage_type
    RETURNING usage.*, unusable.reason
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
    moved.reason,
    moved.iccid,
    moved.usage_type,
    moved.rate_plan_code,
    moved.rate_plan_version,
    moved.page_number,
    moved.row_number,
    %(now)s
FROM moved
ON CONFLICT DO NOTHING
