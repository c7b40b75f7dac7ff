-- Purpose: return the quarantined records of a SIM, newest first.
-- Parameters: iccid, service_provider_id, maximum.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    rejected.id,
    rejected.kind,
    rejected.reason,
    rejected.quarantined_at,
    rejected.resolution
FROM amop.device_quarantine AS rejected
INNER JOIN amop.device_sync_run AS run ON rejected.run_id = run.id
WHERE rejected.iccid = %(iccid)s AND run.service_provider_id = %(service_provider_id)s
ORDER BY rejected.id DESC
LIMIT %(maximum)s
