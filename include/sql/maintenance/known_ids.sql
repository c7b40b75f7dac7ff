-- Purpose: find which of the rows that a command names exist.
-- Parameters: service_provider_id, run_id, session_id (bigint or null), record_ids (bigint[]),
--   dedupe_key (text or null).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    %(service_provider_id)s::bigint IS NULL
    OR EXISTS (
        SELECT 1 FROM amop.service_provider AS provider WHERE provider.id = %(service_provider_id)s::bigint
    ) AS has_provider,
    %(run_id)s::bigint IS NULL
    OR EXISTS (SELECT 1 FROM amop.device_sync_run AS run WHERE run.id = %(run_id)s::bigint) AS has_run,
    %(session_id)s::bigint IS NULL
    OR EXISTS (
        SELECT 1 FROM amop.optimization_session AS session WHERE session.id = %(session_id)s::bigint
    ) AS has_session,
    %(dedupe_key)s::text IS NULL
    OR EXISTS (SELECT 1 FROM amop.amop_outbox AS message WHERE message.dedupe_key = %(dedupe_key)s::text)
        AS has_message,
    coalesce(
        (
            SELECT array_agg(record.id ORDER BY record.id) FROM amop.device_quarantine AS record
            WHERE record.id = any(%(record_ids)s::bigint[])
        ),
        '{}'
    ) AS record_ids
