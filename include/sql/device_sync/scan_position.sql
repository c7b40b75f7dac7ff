-- Purpose: return the position of the list scan: the last page of the current pass that is committed, and whether a
--   page stayed empty in its last reading although later pages have SIMs, and the carrier's mark of the place where the
--   next page begins.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.scan_pass,
    run.scan_first_page,
    run.scan_duplicates,
    run.list_is_complete,
    run.devices_seen,
    last_page.page_number AS last_staged_page,
    coalesce(last_page.is_last_page, false) AS pass_is_complete,
    run.list_is_whole,
    (
        SELECT before.next_after FROM amop.device_sync_page AS before
        WHERE
            before.run_id = run.id
            AND before.page_number = coalesce(last_page.page_number, run.scan_first_page - 1)
        ORDER BY before.scan_pass DESC
        LIMIT 1
    ) AS next_after,
    exists(
        SELECT 1 FROM amop.device_sync_page AS gap
        WHERE
            gap.run_id = run.id AND gap.is_gap AND gap.page_number <= last_page.page_number
            AND NOT EXISTS (
                SELECT 1 FROM amop.device_sync_page AS again
                WHERE
                    again.run_id = gap.run_id AND again.page_number = gap.page_number
                    AND again.scan_pass > gap.scan_pass
            )
    ) AS has_gap
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
