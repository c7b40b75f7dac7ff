-- Purpose: find the session that an opener got earlier.
-- Parameters: service_provider_id, opened_by.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT id
FROM amop.optimization_session
WHERE service_provider_id = %(service_provider_id)s AND opened_by = %(opened_by)s
