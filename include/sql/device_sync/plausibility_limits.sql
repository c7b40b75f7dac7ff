-- Purpose: return the plausibility limits of a provider.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    maximum_unlisted_share,
    warning_unlisted_share,
    maximum_usage_loss_share,
    warning_usage_loss_share,
    maximum_value_loss_share,
    warning_value_loss_share,
    maximum_usage_factor,
    warning_usage_factor
FROM amop.service_provider
WHERE id = %(service_provider_id)s
