-- Purpose: count the ICCIDs that appear more than once in the list as last read. A SIM that is touched during the scan
--   moves to the end of the list and those behind it move up by one, so a SIM may have been missed.
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

duplicate AS (
    SELECT
        staged.iccid,
        min(staged.page_number) AS first_page,
        string_agg(
            staged.page_number || '.' || staged.row_number, ',' ORDER BY staged.page_number, staged.row_number
        ) AS places
    FROM amop.device_staging AS staged
    INNER JOIN latest_page USING (page_number, scan_pass)
    WHERE staged.run_id = %(run_id)s
    GROUP BY staged.iccid
    HAVING count(*) > 1
)

SELECT
    count(*) AS duplicate_count,
    min(first_page) AS first_page,
    coalesce(md5(string_agg(iccid || '@' || places, ';' ORDER BY iccid)), '') AS signature
FROM duplicate
