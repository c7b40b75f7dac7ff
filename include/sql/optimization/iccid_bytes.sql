-- Purpose: the longest ICCID of an instance in bytes, so that its rows can be read as records of one length.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT coalesce(max(octet_length(iccid)), 1) AS bytes
FROM amop.optimization_device
WHERE instance_id = %(instance_id)s
