-- Purpose: leave the SIMs out whose projected usage no SIM can have; add_devices has left out those whose usage alone
--   is already beyond that.
-- Parameters: instance_id, largest_usage_mb.
-- Locks: the rows removed, the new rows.
-- Repeatable: removes nothing the second time.
WITH removed AS (
    DELETE FROM amop.optimization_device
    WHERE instance_id = %(instance_id)s AND projected_usage_mb > %(largest_usage_mb)s
    RETURNING device_id
)

INSERT INTO amop.optimization_device_left_out (instance_id, device_id, reason)
SELECT
    %(instance_id)s,
    device_id,
    'usage_too_large'
FROM removed
