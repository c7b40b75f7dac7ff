-- Purpose: find out whether a run has staged any SIM twice: SIMs moved while the list was read, or the carrier lists
--   one at two places. Where it has not, no later row need be looked for.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    exists(
        SELECT 1 FROM amop.device_staging AS staged
        WHERE staged.run_id = %(run_id)s
        GROUP BY staged.iccid
        HAVING count(*) > 1
    ) AS is_repeated
