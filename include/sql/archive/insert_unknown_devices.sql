-- Purpose: insert an inactive row for each listed SIM that the provider does not have, so that history can refer to it.
--   Existing SIMs are not changed.
-- Parameters: run_id, service_provider_id, now.
-- Locks: none beyond the new rows.
-- Repeatable: a known SIM is left unchanged.
INSERT INTO amop.device (service_provider_id, iccid, is_active, modified_at)
SELECT DISTINCT
    %(service_provider_id)s::bigint,
    staged.iccid,
    false,
    %(now)s::timestamptz
FROM amop.device_staging AS staged
WHERE staged.run_id = %(run_id)s
ON CONFLICT (service_provider_id, iccid) DO NOTHING
