-- Purpose: return quarantined records with their provider and the status of their run.
-- Parameters: service_provider_id, run_id, kind (each null = any), ids (bigint[], empty = any), with_resolved
--   (boolean), maximum (integer, null = all).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    bad.id,
    run.service_provider_id,
    provider.name AS service_provider,
    bad.run_id,
    bad.kind,
    bad.record_key,
    bad.iccid,
    bad.source,
    bad.usage_type,
    bad.rate_plan_code,
    bad.rate_plan_version,
    bad.scan_pass,
    bad.page_number,
    bad.row_number,
    bad.reason,
    bad.raw,
    bad.is_exact,
    bad.quarantined_at,
    bad.resolved_at,
    bad.resolution,
    run.status AS run_status,
    CASE bad.kind
        WHEN 'device' THEN run.devices_merged_at IS NOT NULL
        ELSE run.usage_merged_at IS NOT NULL
    END AS run_is_merged
FROM amop.device_quarantine AS bad
INNER JOIN amop.device_sync_run AS run ON bad.run_id = run.id
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
WHERE
    (%(service_provider_id)s::bigint IS NULL OR run.service_provider_id = %(service_provider_id)s)
    AND (%(run_id)s::bigint IS NULL OR bad.run_id = %(run_id)s)
    AND (%(kind)s::text IS NULL OR bad.kind = %(kind)s)
    AND (cardinality(%(ids)s::bigint[]) = 0 OR bad.id = any(%(ids)s::bigint[]))
    AND (%(with_resolved)s OR bad.resolved_at IS NULL)
ORDER BY bad.kind, bad.id
LIMIT %(maximum)s
