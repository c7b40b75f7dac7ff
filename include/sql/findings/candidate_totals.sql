-- Purpose: return the number and the money of everything that a check found and no user has dismissed, by kind.
-- Parameters: service_provider_id. Needs finding_candidate.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    candidate.kind,
    count(*) AS found,
    sum(candidate.amount) AS amount
FROM finding_candidate AS candidate
WHERE
    NOT EXISTS (
        SELECT 1 FROM amop.finding AS dismissed
        WHERE
            dismissed.service_provider_id = %(service_provider_id)s
            AND dismissed.kind = candidate.kind
            AND dismissed.subject = candidate.subject
            AND dismissed.occurrence = candidate.occurrence
            AND dismissed.dismissed_at IS NOT NULL
    )
GROUP BY candidate.kind
ORDER BY candidate.kind
