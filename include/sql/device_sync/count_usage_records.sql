-- Purpose: count the records that the reading of one rate plan's usage has staged, and the pairs of SIM and zone among
--   them.
-- Parameters: run_id, rate_plan_code, rate_plan_version, usage_type.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    coalesce(sum(place.records), 0)::bigint AS records,
    count(*) AS sims
FROM (
    SELECT
        iccid,
        zone,
        count(*) AS records
    FROM amop.device_usage_staging
    WHERE
        run_id = %(run_id)s
        AND rate_plan_code = %(rate_plan_code)s
        AND rate_plan_version = %(rate_plan_version)s
        AND usage_type = %(usage_type)s
    GROUP BY iccid, zone
) AS place
