-- Purpose: how many SIMs of a run's list, and of its list and usage together, have a record that cannot be used.
--   A record without a valid ICCID counts as a SIM of its own. A SIM that the list does not name and whose single read
--   is refused is no bad record: it is most likely gone, which the next full list will tell.
-- Parameters: run_id, devices_seen (SIMs listed, bad ones included).
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
    WHERE bad.run_id = %(run_id)s AND (bad.source IS DISTINCT FROM 'refusal' OR listed.iccid IS NOT NULL)
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
