-- Purpose: return the latest complete optimization of a provider that excluded a SIM, with the reason.
-- Parameters: device_id, service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    session.id AS session_id,
    excluded_device.reason
FROM amop.optimization_session AS session
INNER JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
INNER JOIN amop.optimization_device_excluded AS excluded_device
    ON instance.id = excluded_device.instance_id AND excluded_device.device_id = %(device_id)s
WHERE
    session.service_provider_id = %(service_provider_id)s
    AND instance.run_status = 'complete_with_success'
ORDER BY session.id DESC
LIMIT 1
