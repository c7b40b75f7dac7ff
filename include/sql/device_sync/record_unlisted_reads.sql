-- Purpose: record the SIMs missing from a full list that were read individually, found or not.
-- Parameters: run_id, iccids (text[]), now.
-- Locks: none beyond the new rows.
-- Repeatable: existing rows are left unchanged.
INSERT INTO amop.device_usage_processed (run_id, kind, iccid, pages, processed_at)
SELECT
    %(run_id)s::bigint,
    'unlisted_device',
    single.iccid,
    1,
    %(now)s
FROM unnest(%(iccids)s::text[]) AS single (iccid)
ON CONFLICT DO NOTHING
