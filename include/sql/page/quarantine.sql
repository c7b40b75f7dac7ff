-- Purpose: return a page of the quarantined records, sorted by a column, and the number of all that match.
-- Parameters: integrations (text[], names that the user may see), with_resolved (boolean), search (null = all; the
--   start of an ICCID, or a part of the provider's name or the reason), sort (identifier), descending (boolean),
--   maximum, skipped.
-- Locks: none, reads only.
-- Repeatable: yes.
WITH matching AS MATERIALIZED (
    SELECT
        rejected.id,
        provider.name AS provider,
        integration.name AS integration,
        run.service_provider_id,
        rejected.run_id,
        rejected.kind,
        rejected.iccid,
        rejected.source,
        rejected.reason,
        rejected.quarantined_at,
        rejected.resolution
    FROM amop.device_quarantine AS rejected
    INNER JOIN amop.device_sync_run AS run ON rejected.run_id = run.id
    INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
    INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
    WHERE
        integration.name = any(%(integrations)s::text[])
        AND (%(with_resolved)s OR rejected.resolved_at IS NULL)
        AND (
            %(search)s::text IS NULL
            OR starts_with(rejected.iccid, %(search)s)
            OR position(lower(%(search)s) IN lower(concat_ws(' ', provider.name, rejected.reason))) > 0
        )
),

listed AS (
    SELECT matching.*
    FROM matching
    ORDER BY
        CASE WHEN %(descending)s THEN matching.{sort} END DESC NULLS LAST,
        CASE WHEN NOT %(descending)s THEN matching.{sort} END ASC NULLS LAST,
        matching.id ASC
    LIMIT %(maximum)s OFFSET %(skipped)s
)

SELECT
    listed.id,
    listed.provider,
    listed.run_id,
    listed.kind,
    listed.iccid,
    device.id AS device_id,
    listed.source,
    listed.reason,
    left(rejected.raw::text, 500) AS raw,
    listed.integration,
    listed.quarantined_at,
    listed.resolution,
    (SELECT count(*) FROM matching) AS matches
FROM listed
INNER JOIN amop.device_quarantine AS rejected ON listed.id = rejected.id
LEFT JOIN amop.device AS device
    ON listed.service_provider_id = device.service_provider_id AND listed.iccid = device.iccid
ORDER BY
    CASE WHEN %(descending)s THEN listed.{sort} END DESC NULLS LAST,
    CASE WHEN NOT %(descending)s THEN listed.{sort} END ASC NULLS LAST,
    listed.id ASC
