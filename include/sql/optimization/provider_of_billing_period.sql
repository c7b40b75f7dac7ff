-- Purpose: return the provider that a billing period belongs to.
-- Parameters: billing_period_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT service_provider_id
FROM amop.billing_period
WHERE id = %(billing_period_id)s
