-- Purpose: insert the communication plans that a run's list uses for the first time; return their names.
-- Parameters: run_id, service_provider_id, now.
-- Locks: none beyond the new rows.
-- Repeatable: a known name is left unchanged; names are unique per provider.
INSERT INTO amop.communication_plan (service_provider_id, name, added_at)
SELECT DISTINCT
    %(service_provider_id)s::bigint,
    staged.communication_plan,
    %(now)s::timestamptz
FROM amop.device_staging AS staged
WHERE staged.run_id = %(run_id)s AND staged.communication_plan IS NOT NULL
ON CONFLICT (service_provider_id, name) DO NOTHING
RETURNING name
