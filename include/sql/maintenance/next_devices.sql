-- Purpose: return the last id of the next batch of SIMs in order of id.
-- Parameters: after (id), batch (number of SIMs).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT max(next_device.id) AS upto
FROM (
    SELECT id FROM amop.device
    WHERE id > %(after)s
    ORDER BY id
    LIMIT %(batch)s
) AS next_device
