-- Purpose: move usage that cannot be merged from staging to quarantine: of a SIM that is not in the provider's device
--   list, or whose records add up to more than a bigint holds.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the moved rows.
-- Repeatable: moved rows are no longer in staging; one row per run and usage record.
WITH counted AS (
    SELECT
        staged.iccid,
        staged.usage_type,
        staged.usage
    FROM amop.device_usage_staging AS staged
    INNER JOIN amop.device_sync_run AS run ON staged.run_id = run.id
    INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
    WHERE staged.run_id = %(run_id)s AND (staged.rate_plan_code <> '' OR staged.received_at < period.cycle_end)
),

unusable AS (
    SELECT DISTINCT
        counted.iccid,
        counted.usage_type,
        'the device list does not contain this ICCID' AS reason
    FROM counted
    WHERE
        NOT EXISTS (
            SELECT 1 FROM amop.device AS device
            WHERE device.service_provider_id = %(service_provider_id)s AND device.iccid = counted.iccid
        )
    UNION ALL
    SELECT
        usage.iccid,
        usage.usage_type,
        'usage adds up beyond bigint'
    -- It takes nine million smaller records of one SIM to add up beyond bigint.
    FROM (
        SELECT DISTINCT
            counted.iccid,
            counted.usage_type
        FROM counted
        WHERE counted.usage > 1000000000000
    ) AS large
    CROSS JOIN LATERAL (
        SELECT every_usage.* FROM amop.counted_usage AS every_usage
        WHERE
            every_usage.run_id = %(run_id)s
            AND every_usage.iccid = large.iccid
            AND every_usage.usage_type = large.usage_type
    ) AS usage
    WHERE
        usage.usage > 9223372036854775807
        AND EXISTS (
            SELECT 1 FROM amop.device AS device
            WHERE device.service_provider_id = %(service_provider_id)s AND device.iccid = usage.iccid
        )
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
