-- Purpose: where the scan of the list stands: the last page of the present pass that is safely staged.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.scan_pass,
    run.scan_first_page,
    run.scan_duplicates,
    run.list_is_complete,
    last_page.page_number AS last_staged_page,
    coalesce(last_page.is_last_page, false) AS pass_is_complete
FROM amop.device_sync_run AS run
LEFT JOIN LATERAL (
    SELECT
        page.page_number,
        page.is_last_page
    FROM amop.device_sync_page AS page
    WHERE page.run_id = run.id AND page.scan_pass = run.scan_pass
    ORDER BY page.page_number DESC
    LIMIT 1
) AS last_page ON true
WHERE run.id = %(run_id)s
