-- Purpose: collect the SIMs of a run's list as it has them, for their history: those that the merge has changed, since
--   the history of the others is what amop.device was and is. All of them if a day after the last live sync was
--   replayed, because its values are in history but not in amop.device. Beside them the active SIMs without any
--   history, listed or not, as amop.device has them: their rows were lost.
-- Parameters: run_id, service_provider_id; needs list_change of the same transaction.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE observed_device ON COMMIT DROP AS
WITH replayed AS MATERIALIZED (
    SELECT
        exists(
            SELECT 1 FROM amop.device_sync_run AS replay
            WHERE
                replay.service_provider_id = %(service_provider_id)s
                AND replay.replayed_run_id IS NOT NULL
                AND replay.usage_as_of > (
                    SELECT coalesce(max(live.usage_as_of), '-infinity') FROM amop.device_sync_run AS live
                    WHERE
                        live.service_provider_id = %(service_provider_id)s
                        AND live.id <> %(run_id)s
                        AND live.replayed_run_id IS NULL
                        AND live.devices_merged_at IS NOT NULL
                )
        ) AS is_after_live
)

SELECT
    device.id AS device_id,
    changed.status,
    changed.rate_plan,
    changed.communication_plan
FROM list_change AS changed
INNER JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND changed.iccid = device.iccid
WHERE changed.is_listed AND NOT (SELECT replayed.is_after_live FROM replayed)
UNION ALL
SELECT
    device.id AS device_id,
    staged.status,
    staged.rate_plan,
    staged.communication_plan
FROM amop.latest_staged_device AS staged
INNER JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND staged.iccid = device.iccid
WHERE staged.run_id = %(run_id)s AND (SELECT replayed.is_after_live FROM replayed)
UNION ALL
SELECT
    device.id AS device_id,
    device.status,
    device.rate_plan,
    device.communication_plan
FROM amop.device AS device
WHERE
    device.service_provider_id = %(service_provider_id)s
    AND device.is_active
    AND NOT (SELECT replayed.is_after_live FROM replayed)
    AND NOT EXISTS (SELECT 1 FROM amop.device_history AS history WHERE history.device_id = device.id)
    AND NOT EXISTS (SELECT 1 FROM list_change AS changed WHERE changed.is_listed AND changed.iccid = device.iccid)
