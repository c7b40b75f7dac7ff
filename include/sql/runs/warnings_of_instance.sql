-- Purpose: return the warnings of the sync runs that the inputs of an optimization instance came from: of those merged
--   before the inputs were read, the latest full list and all later ones. Plans and statuses stay as the full list
--   gave them until a later list names the SIM, and usage is read by every run.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH merged AS (
    SELECT run.*
    FROM amop.optimization_instance AS instance
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.device_sync_run AS run ON session.service_provider_id = run.service_provider_id
    WHERE
        instance.id = %(instance_id)s
        AND run.replayed_run_id IS NULL
        AND run.devices_merged_at <= coalesce(instance.inputs_read_at, 'infinity')
)

SELECT
    merged.id AS run_id,
    merged.dag_run_id,
    warning.text AS warning
FROM merged
CROSS JOIN LATERAL unnest(merged.warnings) WITH ORDINALITY AS warning (text, place)
WHERE
    merged.id >= (
        SELECT coalesce(max(latest_full.id), 0) FROM merged AS latest_full
        WHERE latest_full.is_full AND latest_full.usage_merged_at IS NOT NULL
    )
ORDER BY merged.id, warning.place
