-- Purpose: collect the SIMs of a run's list as it has them, for their history: all of them.
-- Parameters: run_id, service_provider_id.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE observed_device ON COMMIT DROP AS
SELECT
    device.id AS device_id,
    staged.status,
    staged.rate_plan,
    staged.communication_plan
FROM amop.latest_staged_device AS staged
INNER JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND staged.iccid = device.iccid
WHERE staged.run_id = %(run_id)s
