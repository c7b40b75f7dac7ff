-- Purpose: insert the communication plans of a reference file that are not stored yet.
-- Parameters: entries (jsonb array of service_provider_id, name), now (timestamptz).
-- Locks: the new rows only.
-- Repeatable: a stored name is not changed and not returned; names are unique per provider.
INSERT INTO amop.communication_plan (service_provider_id, name, added_at)
SELECT
    entry.service_provider_id,
    entry.name,
    %(now)s
FROM jsonb_to_recordset(%(entries)s::jsonb) AS entry (service_provider_id bigint, name text)
ON CONFLICT (service_provider_id, name) DO NOTHING
RETURNING true AS was_inserted
