-- Purpose: set the numbers that the existing system has for the integrations of a reference file.
-- Parameters: entries (jsonb array of name, integration_type).
-- Locks: the written rows.
-- Repeatable: an unchanged integration is not written and not returned.
UPDATE amop.integration AS stored
SET integration_type = entry.integration_type
FROM jsonb_to_recordset(%(entries)s::jsonb) AS entry (name text, integration_type integer)
WHERE stored.name = entry.name AND stored.integration_type IS DISTINCT FROM entry.integration_type
RETURNING false AS was_inserted
