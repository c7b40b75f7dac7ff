-- Purpose: return the latest completed optimization of a provider whose SIMs are still stored.
-- Parameters: service_provider_id, integration (name; the provider must be on it).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT instance.id
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    provider.id = %(service_provider_id)s
    AND integration.name = %(integration)s
    AND instance.run_status = 'complete_with_success'
    AND instance.devices_removed_at IS NULL
    AND EXISTS (SELECT 1 FROM amop.optimization_device AS sim WHERE sim.instance_id = instance.id)
ORDER BY instance.id DESC
LIMIT 1
