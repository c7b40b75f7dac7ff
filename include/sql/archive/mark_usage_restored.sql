-- Purpose: record that a replay restores usage to a billing period that maintenance had emptied, so that maintenance
--   empties it again.
-- Parameters: billing_period_id.
-- Locks: the period's row, if it changes.
-- Repeatable: changes nothing the second time.
UPDATE amop.billing_period
SET usage_removed_at = NULL
WHERE id = %(billing_period_id)s AND usage_removed_at IS NOT NULL
