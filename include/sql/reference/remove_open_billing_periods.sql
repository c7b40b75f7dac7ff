-- Purpose: delete the billing periods of a provider that have not ended, so that changed settings apply immediately.
-- Parameters: service_provider_id (bigint), now (timestamptz).
-- Locks: the deleted rows; fails with a foreign key violation if a run, a device or a session refers to one.
-- Repeatable: deletes nothing the second time; the current period is derived again when needed.
DELETE FROM amop.billing_period
WHERE service_provider_id = %(service_provider_id)s AND cycle_end > %(now)s
