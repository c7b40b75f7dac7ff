-- Purpose: count the SIMs with unusable records: those of a run's list, and those of its list and usage together. A
--   record without a valid ICCID counts as a SIM of its own. A SIM that is not in the list and whose single read was
--   refused is not counted: it has most likely been removed, which the next full list will show. Unreadable details are
--   not counted either: they are read again in later runs.
-- Parameters: run_id, devices_seen (SIMs listed, including bad records).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH listed AS (
    SELECT DISTINCT iccid
    FROM amop.device_staging
    WHERE run_id = %(run_id)s
),

rejected AS (
    SELECT
        bad.kind,
        coalesce(bad.iccid, bad.record_key) AS sim,
        listed.iccid IS NOT NULL AS is_listed_well
    FROM amop.device_quarantine AS bad
    LEFT JOIN listed ON bad.iccid = listed.iccid
    WHERE
        bad.run_id = %(run_id)s
        AND bad.source IS DISTINCT FROM 'device_details'
        AND (bad.source IS DISTINCT FROM 'refusal' OR listed.iccid IS NOT NULL)
)

SELECT
    %(devices_seen)s::bigint AS devices_read,
    count(DISTINCT sim) FILTER (WHERE kind = 'device' AND NOT is_listed_well) AS devices_bad,
    count(DISTINCT sim) FILTER (WHERE kind = 'usage' OR NOT is_listed_well) AS sims_bad,
    (
        SELECT count(*) FROM (
            SELECT listed.iccid FROM listed
            UNION
            SELECT usage.iccid FROM amop.device_usage_staging AS usage
            WHERE usage.run_id = %(run_id)s
            UNION
            SELECT rejected.sim FROM rejected
        ) AS known
    ) AS sims_read
FROM rejected
