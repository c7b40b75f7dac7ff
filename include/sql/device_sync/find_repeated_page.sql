-- Purpose: return the first page of a list, as last read, with two SIMs or more that all appear on an earlier page as
--   well.
-- Parameters: run_id, last_page (the last page of the current pass).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH latest_page AS (
    SELECT
        page_number,
        max(scan_pass) AS scan_pass
    FROM amop.device_sync_page
    WHERE run_id = %(run_id)s AND page_number <= %(last_page)s
    GROUP BY page_number
),

listed AS (
    SELECT
        staged.page_number,
        min(staged.page_number) OVER (PARTITION BY staged.iccid) AS first_page
    FROM amop.device_staging AS staged
    INNER JOIN latest_page USING (page_number, scan_pass)
    WHERE staged.run_id = %(run_id)s
)

SELECT page_number
FROM listed
GROUP BY page_number
HAVING count(*) > 1 AND bool_and(first_page < page_number)
ORDER BY page_number
LIMIT 1
