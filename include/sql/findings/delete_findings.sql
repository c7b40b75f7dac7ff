-- Purpose: delete the findings of a provider that its check at `now` did not find again, and what was dismissed long
--   ago.
-- Parameters: service_provider_id, now, dismissed_before (timestamptz).
-- Locks: the deleted rows.
-- Repeatable: yes.
DELETE FROM amop.finding
WHERE
    service_provider_id = %(service_provider_id)s
    AND (
        (dismissed_at IS NULL AND last_found_at IS DISTINCT FROM %(now)s)
        OR dismissed_at < %(dismissed_before)s
    )
