-- Purpose: delete the daily usage of a billing period for a batch of SIMs.
-- Parameters: billing_period_id, after and upto (ids of SIMs).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows.
DELETE FROM amop.device_usage
WHERE device_id > %(after)s AND device_id <= %(upto)s AND billing_period_id = %(billing_period_id)s
