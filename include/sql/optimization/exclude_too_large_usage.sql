-- Purpose: exclude the SIMs whose projected usage is above the largest possible one; add_devices has skipped those
--   whose usage alone is above it.
-- Parameters: instance_id, largest_usage_mb.
-- Locks: the deleted rows, the new rows.
-- Repeatable: yes; the second time finds no row.
WITH removed AS (
    DELETE FROM amop.optimization_device
    WHERE instance_id = %(instance_id)s AND projected_usage_mb > %(largest_usage_mb)s
    RETURNING device_id
)

INSERT INTO amop.optimization_device_excluded (instance_id, device_id, reason)
SELECT
    %(instance_id)s,
    device_id,
    'usage_too_large'
FROM removed
