-- Purpose: collect the counters that an archived run read, of the SIMs with usage in the carrier's answers. A counter
--   that is not in them is null: not read, or no usage. SIMs with a quarantined usage record are excluded, as in a live
--   sync. A bulk read lowers no counter of the cycle, neither that of an earlier day nor the one that the live sync of
--   the same answers accepted: the proof is not in the archive. None exceeds the SIM's present counter of that cycle,
--   where a live sync has read it since.
-- Parameters: run_id (of the replay), service_provider_id, billing_period_id, usage_date, as_of.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE observed_usage ON COMMIT DROP AS
SELECT
    device.id AS device_id,
    CASE
        WHEN usage.is_single OR usage.data_usage IS NULL THEN usage.data_usage
        ELSE greatest(least(usage.data_usage, final.data_usage), lowest.data_usage)
    END AS data_usage,
    CASE
        WHEN usage.is_single OR usage.sms_usage IS NULL THEN usage.sms_usage
        ELSE greatest(least(usage.sms_usage, final.sms_usage), lowest.sms_usage)
    END AS sms_usage,
    CASE
        WHEN usage.is_single OR usage.voice_usage IS NULL THEN usage.voice_usage
        ELSE greatest(least(usage.voice_usage, final.voice_usage), lowest.voice_usage)
    END AS voice_usage
FROM (
    SELECT
        iccid,
        bool_or(is_single) AS is_single,
        (sum(usage) FILTER (WHERE usage_type = 'DATA'))::bigint AS data_usage,
        (sum(usage) FILTER (WHERE usage_type = 'SMS'))::bigint AS sms_usage,
        (sum(usage) FILTER (WHERE usage_type = 'VOICE'))::bigint AS voice_usage
    FROM amop.counted_usage
    WHERE run_id = %(run_id)s
    GROUP BY iccid
) AS usage
INNER JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND usage.iccid = device.iccid
LEFT JOIN LATERAL (
    SELECT
        device.ctd_data_usage AS data_usage,
        device.ctd_sms_usage AS sms_usage,
        device.ctd_voice_usage AS voice_usage
    WHERE
        device.billing_period_id = %(billing_period_id)s
        AND EXISTS (
            SELECT 1 FROM amop.device_sync_run AS live
            WHERE
                live.service_provider_id = %(service_provider_id)s
                AND live.billing_period_id = %(billing_period_id)s
                AND live.replayed_run_id IS NULL
                AND live.usage_merged_at IS NOT NULL
                AND live.usage_as_of >= %(as_of)s
        )
) AS final ON true
LEFT JOIN LATERAL (
    SELECT
        day.data_usage,
        day.sms_usage,
        day.voice_usage
    FROM amop.device_usage_to_date AS day
    WHERE
        day.device_id = device.id
        AND day.billing_period_id = %(billing_period_id)s
        AND (day.usage_date < %(usage_date)s OR (day.usage_date = %(usage_date)s AND day.as_of = %(as_of)s))
    ORDER BY day.usage_date DESC
    LIMIT 1
) AS lowest ON true
WHERE
    NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s AND rejected.kind = 'usage' AND rejected.iccid = device.iccid
            AND rejected.resolved_at IS NULL
    )
