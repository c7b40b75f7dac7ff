-- Purpose: mark the SIMs whose usage a run could not confirm, and unmark those whose usage it did. Return the number of
--   unconfirmed SIMs among those collected.
-- Parameters: none; reads collected_usage of the same transaction.
-- Locks: the rows that change.
-- Repeatable: writes only rows that differ.
WITH changed AS (
    UPDATE amop.device
    SET usage_is_unconfirmed = collected.is_unconfirmed
    FROM collected_usage AS collected
    WHERE
        device.id = collected.device_id
        AND device.usage_is_unconfirmed <> collected.is_unconfirmed
)

SELECT count(*) AS usage_unconfirmed FROM collected_usage
WHERE is_unconfirmed
