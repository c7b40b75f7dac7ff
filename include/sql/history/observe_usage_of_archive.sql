-- Purpose: what an archived run had seen of the counters: of the SIMs that the carrier named with usage. A counter that
--   it did not name is null: not read, or nothing used. SIMs that were RETIRED on that day and SIMs with a quarantined
--   usage record are left out, as in a live sync.
-- Parameters: run_id (of the replay), service_provider_id, usage_date.
-- Locks: none; fills a temporary table of this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE observed_usage ON COMMIT DROP AS
SELECT
    device.id AS device_id,
    usage.data_usage,
    usage.sms_usage,
    usage.voice_usage
FROM (
    SELECT
        iccid,
        (sum(usage) FILTER (WHERE usage_type = 'DATA'))::bigint AS data_usage,
        (sum(usage) FILTER (WHERE usage_type = 'SMS'))::bigint AS sms_usage,
        (sum(usage) FILTER (WHERE usage_type = 'VOICE'))::bigint AS voice_usage
    FROM amop.device_usage_staging
    WHERE run_id = %(run_id)s
    GROUP BY iccid
) AS usage
INNER JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND usage.iccid = device.iccid
LEFT JOIN LATERAL (
    SELECT history.status
    FROM amop.device_history AS history
    WHERE history.device_id = device.id AND history.valid_from <= %(usage_date)s
    ORDER BY history.valid_from DESC
    LIMIT 1
) AS that_day ON true
WHERE
    that_day.status IS DISTINCT FROM 'RETIRED'
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s AND rejected.kind = 'usage' AND rejected.iccid = device.iccid
            AND rejected.resolved_at IS NULL
    )
