-- Purpose: collect the current cycle-to-date counters of the SIMs whose usage a run reads. A counter that was not read
--   keeps its value within a cycle and starts at 0 in a new one. A counter that a bulk read lowers within a cycle keeps
--   its value unless the single reads of its plan prove the fall: at least proof_reads of them, or all, and each nearer
--   to the bulk answer than to the counter. Such a SIM is unconfirmed, and so is one whose data usage was not read
--   (is_read is false) or whose plan changed within the period and that was not read singly. Bulk usage that was read
--   after the cycle had ended is final and never lowers a counter. A SIM that a later run has moved to a later cycle is
--   left unchanged, as is a SIM with an unresolved quarantined usage record.
-- Parameters: run_id, proof_reads, iccids (text[], only these SIMs; null = all). Needs present_device and
--   compared_usage.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE collected_usage ON COMMIT DROP AS
WITH run AS (
    SELECT
        run.id,
        run.billing_period_id,
        period.cycle_start
    FROM amop.device_sync_run AS run
    INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
    WHERE run.id = %(run_id)s
),

verdict AS (
    SELECT
        rate_plan,
        usage_type,
        coalesce(bool_and(2 * (usage - bulk_usage)::numeric <= old_usage - bulk_usage) FILTER (WHERE is_proof), false)
        AND count(*) FILTER (WHERE is_proof)
        >= least(%(proof_reads)s::bigint, count(*) FILTER (WHERE is_proof OR fall > 0)) AS is_proved
    FROM (
        SELECT
            compared_usage.*,
            compared_usage.is_single
            AND compared_usage.is_whole
            AND NOT compared_usage.has_moved
            AND compared_usage.bulk_usage < compared_usage.old_usage AS is_proof
        FROM compared_usage
    ) AS compared
    GROUP BY rate_plan, usage_type
),

believed AS (
    SELECT
        compared.device_id,
        compared.usage_type,
        compared.is_single,
        compared.fall > 0 AND NOT verdict.is_proved AS is_kept,
        CASE
            WHEN compared.is_final OR (compared.fall > 0 AND NOT verdict.is_proved)
                THEN greatest(compared.usage, compared.old_usage)
            ELSE compared.usage
        END AS usage
    FROM compared_usage AS compared
    INNER JOIN verdict
        ON compared.rate_plan = verdict.rate_plan AND compared.usage_type = verdict.usage_type
),

counter AS (
    SELECT
        device_id,
        max(usage) FILTER (WHERE usage_type = 'DATA') AS data_usage,
        max(usage) FILTER (WHERE usage_type = 'SMS') AS sms_usage,
        max(usage) FILTER (WHERE usage_type = 'VOICE') AS voice_usage,
        max(usage) FILTER (WHERE usage_type = 'SESSIONS') AS session_count,
        coalesce(bool_or(is_single) FILTER (WHERE usage_type = 'DATA'), false) AS is_single,
        bool_or(is_kept) AS is_kept,
        coalesce(bool_or(is_kept) FILTER (WHERE usage_type = 'SMS'), false) AS sms_is_kept,
        coalesce(bool_or(is_kept) FILTER (WHERE usage_type = 'VOICE'), false) AS voice_is_kept
    FROM believed
    GROUP BY device_id
)

SELECT
    device.id AS device_id,
    coalesce(device.billing_period_id = run.billing_period_id, false) AS is_same_cycle,
    device.ctd_data_usage AS old_data_usage,
    device.ctd_sms_usage AS old_sms_usage,
    device.ctd_voice_usage AS old_voice_usage,
    device.ctd_session_count AS old_session_count,
    coalesce(counter.data_usage, kept.share * device.ctd_data_usage) AS data_usage,
    coalesce(counter.sms_usage, kept.share * device.ctd_sms_usage) AS sms_usage,
    coalesce(counter.voice_usage, kept.share * device.ctd_voice_usage) AS voice_usage,
    coalesce(counter.session_count, kept.share * device.ctd_session_count) AS session_count,
    counter.data_usage IS NOT NULL AS is_read,
    counter.sms_usage IS NOT NULL AND NOT counter.sms_is_kept AS sms_is_read,
    counter.voice_usage IS NOT NULL AND NOT counter.voice_is_kept AS voice_is_read,
    counter.data_usage IS NULL
    OR counter.is_kept
    OR (sim.has_moved AND NOT counter.is_single) AS is_unconfirmed
FROM present_device AS sim
CROSS JOIN run
INNER JOIN amop.device AS device ON sim.device_id = device.id
LEFT JOIN counter ON sim.device_id = counter.device_id
LEFT JOIN amop.billing_period AS held ON device.billing_period_id = held.id
CROSS JOIN LATERAL (
    SELECT CASE WHEN device.billing_period_id = run.billing_period_id THEN 1 ELSE 0 END::bigint AS share
) AS kept
WHERE
    (%(iccids)s::text[] IS NULL OR sim.iccid = any(%(iccids)s::text[]))
    AND (sim.is_counted OR counter.data_usage > 0)
    AND coalesce(held.cycle_start <= run.cycle_start, true)
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = run.id AND rejected.kind = 'usage' AND rejected.iccid = sim.iccid
            AND rejected.resolved_at IS NULL
    )
