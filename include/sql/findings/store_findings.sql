-- Purpose: store what a check found, the most money first up to a limit; return the number of rows. What a user has
--   dismissed does not count towards the limit and is not written.
-- Parameters: service_provider_id, most (the limit), now. Needs finding_candidate.
-- Locks: the rows that are written.
-- Repeatable: a finding that is known keeps its row and when it was first found.
INSERT INTO amop.finding AS finding (
    service_provider_id, kind, subject, occurrence, device_id, amount, facts, first_found_at, last_found_at
)
SELECT
    %(service_provider_id)s,
    candidate.kind,
    candidate.subject,
    candidate.occurrence,
    candidate.device_id,
    candidate.amount,
    candidate.facts,
    %(now)s AS first_found_at,
    %(now)s AS last_found_at
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
ORDER BY candidate.amount DESC, candidate.kind ASC, candidate.subject ASC
LIMIT %(most)s
ON CONFLICT (service_provider_id, kind, subject, occurrence) DO UPDATE
SET
    device_id = excluded.device_id,
    amount = excluded.amount,
    facts = excluded.facts,
    last_found_at = excluded.last_found_at
