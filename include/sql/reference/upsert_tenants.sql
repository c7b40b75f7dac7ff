-- Purpose: insert the tenants of a reference file and update those that differ.
-- Parameters: entries (jsonb array of id, name, time_zone).
-- Locks: the written rows.
-- Repeatable: an unchanged tenant is not written and not returned.
INSERT INTO amop.tenant AS stored (id, name, time_zone)
SELECT
    entry.id,
    entry.name,
    entry.time_zone
FROM jsonb_to_recordset(%(entries)s::jsonb) AS entry (id bigint, name text, time_zone text)
ON CONFLICT (id) DO UPDATE
    SET
        name = excluded.name,
        time_zone = excluded.time_zone
    WHERE (stored.name, stored.time_zone) IS DISTINCT FROM (excluded.name, excluded.time_zone)
RETURNING stored.xmax = 0 AS was_inserted
