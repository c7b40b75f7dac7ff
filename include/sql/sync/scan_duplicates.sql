-- Purpose: ICCIDs that stand more than once in the list as last read: a SIM touched during the scan moved to the end,
--   and the ones behind it moved up by one, so that one may have slipped past the reader.
-- Parameters: run_id (bigint), last_page (integer, the last page of the present pass).
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
