-- Purpose: a replay brings usage back to a billing period that maintenance had emptied: it is to be emptied again.
-- Parameters: billing_period_id.
-- Locks: the period's row, if it changes.
-- Repeatable: changes nothing the second time.
UPDATE amop.billing_period
SET usage_removed_at = NULL
WHERE id = %(billing_period_id)s AND usage_removed_at IS NOT NULL
