-- Purpose: queue single usage reads of the SIMs whose bulk usage is not to be believed as it is, the most valuable
--   first: those whose rate plan changed within the period; of each plan the largest falls and a sample of the others,
--   which prove or disprove the rest; then the other falls and the SIMs without bulk usage, the largest first. A SIM is
--   queued once in a run, and not if one of its usage records is in quarantine.
-- Parameters: run_id, maximum_reads (for the whole run), proof_reads (of each plan and choice). Needs present_device
--   and compared_usage.
-- Locks: the new rows.
-- Repeatable: a SIM that was read or queued is not queued again; the reads of the run are counted.
WITH compared AS (
    SELECT
        iccid,
        bool_or(usage_type = 'DATA') AS has_data,
        bool_or(is_final) AS is_final,
        max(fall) AS fall,
        max(usage) FILTER (WHERE usage_type = 'DATA') AS data_usage
    FROM compared_usage
    GROUP BY iccid
),

refused AS (
    SELECT DISTINCT rate_plan_code
    FROM amop.device_usage_processed
    WHERE run_id = %(run_id)s AND kind = 'rate_plan_usage' AND refusal IS NOT NULL
),

doubtful AS (
    SELECT
        sim.iccid,
        sim.rate_plan,
        CASE
            WHEN sim.has_moved THEN 'plan_changed'
            WHEN compared.fall > 0 THEN 'fallen'
            ELSE 'refused'
        END AS reason,
        greatest(compared.fall, compared.data_usage, sim.data_usage) AS size,
        compared.has_data IS NOT TRUE AS is_unread
    FROM present_device AS sim
    LEFT JOIN compared ON sim.iccid = compared.iccid
    LEFT JOIN refused ON sim.rate_plan = refused.rate_plan_code
    WHERE
        sim.is_counted
        AND compared.is_final IS NOT TRUE
        AND (
            sim.has_moved
            OR compared.fall > 0
            OR compared.has_data IS NOT TRUE
            OR refused.rate_plan_code IS NOT NULL
        )
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_usage_processed AS single
            WHERE single.run_id = %(run_id)s AND single.kind = 'device_usage' AND single.iccid = sim.iccid
        )
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_usage_to_process AS single
            WHERE single.run_id = %(run_id)s AND single.kind = 'device_usage' AND single.iccid = sim.iccid
        )
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_quarantine AS rejected
            WHERE rejected.run_id = %(run_id)s AND rejected.kind = 'usage' AND rejected.iccid = sim.iccid
        )
),

ranked AS (
    SELECT
        doubtful.*,
        row_number() OVER (PARTITION BY doubtful.reason, doubtful.rate_plan ORDER BY doubtful.size DESC) AS by_size,
        row_number() OVER (
            PARTITION BY doubtful.reason, doubtful.rate_plan ORDER BY md5(doubtful.iccid || %(run_id)s::bigint)
        ) AS by_chance
    FROM doubtful
),

used AS (
    SELECT
        (
            SELECT count(*) FROM amop.device_usage_processed AS single
            WHERE single.run_id = %(run_id)s AND single.reason <> ''
        )
        + (
            SELECT count(*) FROM amop.device_usage_to_process AS single
            WHERE single.run_id = %(run_id)s AND single.reason <> ''
        ) AS reads
),

queued AS (
    INSERT INTO amop.device_usage_to_process (run_id, kind, iccid, reason)
    SELECT
        %(run_id)s::bigint,
        'device_usage',
        ranked.iccid,
        ranked.reason
    FROM ranked
    ORDER BY
        CASE
            WHEN ranked.reason = 'plan_changed' THEN 1
            WHEN ranked.reason = 'fallen' AND least(ranked.by_size, ranked.by_chance) <= %(proof_reads)s THEN 2
            WHEN ranked.reason = 'fallen' OR ranked.is_unread THEN 3
            ELSE 4
        END,
        ranked.size DESC,
        md5(ranked.iccid || %(run_id)s::bigint)
    LIMIT greatest(%(maximum_reads)s - (SELECT used.reads FROM used), 0)
    ON CONFLICT DO NOTHING
    RETURNING iccid
)

SELECT
    (SELECT count(*) FROM doubtful) AS doubtful,
    (SELECT count(*) FROM queued) AS queued
