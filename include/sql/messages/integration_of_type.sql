-- Purpose: find the integration that has a number in the existing system.
-- Parameters: integration_type.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT name
FROM amop.integration
WHERE integration_type = %(integration_type)s
