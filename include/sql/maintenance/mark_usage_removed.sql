-- Purpose: mark a billing period whose daily usage was deleted.
-- Parameters: billing_period_id, now.
-- Locks: the period's row.
-- Repeatable: the first time is kept.
UPDATE amop.billing_period
SET usage_removed_at = coalesce(usage_removed_at, %(now)s)
WHERE id = %(billing_period_id)s
