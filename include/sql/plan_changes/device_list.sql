-- Purpose: return the device list that the plan changes of an instance are built on, whether it says the plan of every
--   SIM for certain, how many SIMs are modified at the carrier in a day, and how far that list was read.
--   The list is certain if it was exact and full, or incremental from a moment before the start of a list that is.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
WITH RECURSIVE merged AS (
    SELECT
        run.id,
        run.started_at,
        run.devices_merged_at,
        run.modified_since,
        run.is_full,
        run.list_is_exact AND run.list_is_whole AND NOT EXISTS (
            SELECT FROM amop.device_quarantine AS record
            WHERE
                record.run_id = run.id
                AND record.kind = 'device'
                AND record.resolved_at IS NULL
                AND record.iccid IS NULL
        ) AS is_exact,
        run.devices_seen
    FROM amop.optimization_instance AS instance
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.device_sync_run AS run ON session.service_provider_id = run.service_provider_id
    WHERE
        instance.id = %(instance_id)s
        AND run.devices_merged_at <= instance.inputs_read_at
        AND run.replayed_run_id IS NULL
),

latest AS (
    SELECT * FROM merged
    ORDER BY devices_merged_at DESC
    LIMIT 1
),

chain AS (
    SELECT * FROM latest
    UNION ALL
    SELECT earlier.*
    FROM chain
    CROSS JOIN LATERAL (
        SELECT merged.*
        FROM merged
        WHERE
            NOT chain.is_full
            AND merged.devices_merged_at < chain.devices_merged_at
            AND merged.started_at >= chain.modified_since
        ORDER BY merged.devices_merged_at DESC
        LIMIT 1
    ) AS earlier
)

SELECT
    latest.started_at AS began_at,
    coalesce((SELECT bool_and(chain.is_exact) AND bool_or(chain.is_full) FROM chain), false) AS is_certain,
    fleet.device_count,
    daily.modified_count AS daily_modified_count,
    instance.changes_listed_at AS listed_at,
    instance.changes_list_refusal AS refusal
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
LEFT JOIN latest ON true
LEFT JOIN LATERAL (
    SELECT ceil(
        merged.devices_seen * 86400 / greatest(extract(EPOCH FROM merged.started_at - merged.modified_since), 1)
    )::bigint AS modified_count
    FROM merged
    WHERE NOT merged.is_full
    ORDER BY merged.devices_merged_at DESC
    LIMIT 1
) AS daily ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS device_count
    FROM amop.device
    WHERE device.service_provider_id = session.service_provider_id AND device.is_active
) AS fleet
WHERE instance.id = %(instance_id)s
