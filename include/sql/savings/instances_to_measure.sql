-- Purpose: return the completed instances of closed billing periods that are not measured yet, oldest first. A sync of
--   a later period has completed, so that the usage of the closed one is final. Excluded are instances of a period that
--   was already over (they forecast nothing), instances without stored prices, and instances whose SIMs maintenance has
--   removed.
-- Parameters: service_provider_id (null = all providers), now (timestamptz).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    instance.id,
    provider.id AS service_provider_id,
    provider.name AS service_provider_name
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
WHERE
    provider.id = coalesce(%(service_provider_id)s::bigint, provider.id)
    AND instance.run_status = 'complete_with_success'
    AND period.cycle_end <= %(now)s
    AND instance.usage_as_of < period.cycle_end
    AND instance.devices_removed_at IS NULL
    AND (
        instance.device_count = 0
        OR EXISTS (SELECT 1 FROM amop.optimization_rate_plan_result AS used WHERE used.instance_id = instance.id)
    )
    AND NOT EXISTS (SELECT 1 FROM amop.realised_saving AS measured WHERE measured.instance_id = instance.id)
    AND EXISTS (
        SELECT 1 FROM amop.device_sync_run AS run
        INNER JOIN amop.billing_period AS later ON run.billing_period_id = later.id
        WHERE
            run.service_provider_id = provider.id
            AND run.status = 'complete' AND run.replayed_run_id IS NULL
            AND later.cycle_start >= period.cycle_end
    )
ORDER BY provider.id, instance.id
