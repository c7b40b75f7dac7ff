-- Purpose: say of a failed session whether its provider has a later one, and whether its optimization had begun.
-- Parameters: session_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    NOT EXISTS (
        SELECT 1
        FROM amop.optimization_session AS later
        WHERE later.service_provider_id = failed.service_provider_id AND later.id > failed.id
    ) AS is_latest,
    instance.id IS NOT NULL AS has_begun
FROM amop.optimization_session AS failed
LEFT JOIN amop.optimization_instance AS instance ON failed.id = instance.session_id
WHERE failed.id = %(session_id)s AND failed.status = 'failed'
