-- Purpose: count the SIMs that appear on two pages of one rate plan's usage in the same zone, and return the first page
--   of two records or more that are all duplicates. Records without a zone are not checked: they may add up.
-- Parameters: run_id, rate_plan_code, rate_plan_version, usage_type.
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH placed AS (
    SELECT
        iccid,
        page_number,
        min(page_number) OVER (PARTITION BY iccid, zone) AS first_page
    FROM amop.device_usage_staging
    WHERE
        run_id = %(run_id)s
        AND rate_plan_code = %(rate_plan_code)s
        AND rate_plan_version = %(rate_plan_version)s
        AND usage_type = %(usage_type)s
        AND zone <> ''
)

SELECT
    (SELECT count(DISTINCT iccid) FROM placed WHERE first_page < page_number) AS duplicate_count,
    (
        SELECT min(whole.page_number) FROM (
            SELECT page_number
            FROM placed
            GROUP BY page_number
            HAVING count(*) > 1 AND bool_and(first_page < page_number)
        ) AS whole
    ) AS repeated_page
