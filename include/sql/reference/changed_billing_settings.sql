-- Purpose: list the stored providers whose billing cycle a reference file changes.
-- Parameters: entries (jsonb array of id, time_zone, bill_period_end_day, bill_period_end_hour).
-- Locks: none beyond reading.
-- Repeatable: reads only; empty after the file has been loaded.
SELECT
    stored.id,
    stored.name
FROM amop.service_provider AS stored
INNER JOIN
    jsonb_to_recordset(%(entries)s::jsonb) AS entry (
        id bigint,
        time_zone text,
        bill_period_end_day smallint,
        bill_period_end_hour smallint
    )
    ON stored.id = entry.id
WHERE
    (stored.time_zone, stored.bill_period_end_day, stored.bill_period_end_hour)
    IS DISTINCT FROM (entry.time_zone, entry.bill_period_end_day, entry.bill_period_end_hour)
ORDER BY stored.id
