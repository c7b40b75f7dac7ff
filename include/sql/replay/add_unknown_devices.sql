-- Purpose: listed SIMs that the provider does not have any more, or not yet, get a row that is not active, so that
--   history has something to refer to. SIMs that are there are not touched.
-- Parameters: run_id, service_provider_id, now.
-- Locks: none beyond the new rows.
-- Repeatable: a known SIM is left alone.
INSERT INTO amop.device (service_provider_id, iccid, is_active, modified_at)
SELECT DISTINCT
    %(service_provider_id)s::bigint,
    staged.iccid,
    false,
    %(now)s::timestamptz
FROM amop.device_staging AS staged
WHERE staged.run_id = %(run_id)s
ON CONFLICT (service_provider_id, iccid) DO NOTHING
