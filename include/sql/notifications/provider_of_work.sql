-- Purpose: return the name of the provider that a task works for, by its sync run or its session; null if neither is
--   known.
-- Parameters: run_id (bigint or null), session_id (bigint or null).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT provider.name
FROM amop.service_provider AS provider
WHERE
    provider.id = coalesce(
        (SELECT run.service_provider_id FROM amop.device_sync_run AS run WHERE run.id = %(run_id)s::bigint),
        (
            SELECT session.service_provider_id FROM amop.optimization_session AS session
            WHERE session.id = %(session_id)s::bigint
        )
    )
