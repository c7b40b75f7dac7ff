-- Purpose: forget the billing periods of a provider that have not ended, so that changed settings apply at once.
-- Parameters: service_provider_id (bigint), now (timestamptz).
-- Locks: the deleted rows; fails with a foreign key violation where a run, a device or a session uses one.
-- Repeatable: deletes nothing the second time; the current period is derived again when it is asked for.
DELETE FROM amop.billing_period
WHERE service_provider_id = %(service_provider_id)s AND cycle_end > %(now)s
