-- Purpose: count the SIMs with unusable records: those of a run's list, and those of its list and usage together. A
--   record without a valid ICCID counts as a SIM of its own. A SIM that is not in the list and whose single read was
--   refused is not counted: it has most likely been removed, which the next full list will show. Unreadable details are
--   not counted either: they are read again in later runs. All SIMs that were read are counted only where the
--   number of bad ones is above the limit for the list alone; elsewhere those of the list stand for them.
-- Parameters: run_id, devices_seen (SIMs listed, including bad records), maximum_bad_share (of the SIMs read).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH rejected AS (
    SELECT
        bad.kind,
        coalesce(bad.iccid, bad.record_key) AS sim,
        listed.is_listed_well
    FROM amop.device_quarantine AS bad
    CROSS JOIN LATERAL (
        SELECT
            exists(
                SELECT 1 FROM amop.device_staging AS staged
                WHERE staged.run_id = %(run_id)s AND staged.iccid = bad.iccid
            ) AS is_listed_well
    ) AS listed
    WHERE
        bad.run_id = %(run_id)s
        AND bad.source IS DISTINCT FROM 'device_details'
        AND (bad.source IS DISTINCT FROM 'refusal' OR listed.is_listed_well)
),

counted AS (
    SELECT
        count(DISTINCT sim) FILTER (WHERE kind = 'device' AND NOT is_listed_well) AS devices_bad,
        count(DISTINCT sim) FILTER (WHERE kind = 'usage' OR NOT is_listed_well) AS sims_bad
    FROM rejected
)

SELECT
    %(devices_seen)s::bigint AS devices_read,
    counted.devices_bad,
    counted.sims_bad,
    CASE
        WHEN counted.sims_bad <= %(devices_seen)s::bigint * %(maximum_bad_share)s::numeric THEN %(devices_seen)s::bigint
        ELSE (
            SELECT count(*) FROM (
                SELECT staged.iccid FROM amop.device_staging AS staged
                WHERE staged.run_id = %(run_id)s
                UNION
                SELECT usage.iccid FROM amop.device_usage_staging AS usage
                WHERE usage.run_id = %(run_id)s
                UNION
                SELECT rejected.sim FROM rejected
            ) AS known
        )
    END AS sims_read
FROM counted
