-- Purpose: claim the undelivered report whose next attempt is due longest, and reserve it until the attempt after that.
-- Parameters: now (timestamptz or null = the database's clock), first_delay_seconds, longest_delay_seconds (numbers).
-- Locks: the claimed row, for this statement only; a row that another process is claiming is skipped.
-- Repeatable: every call claims another report or none.
WITH present AS MATERIALIZED (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
),

due AS MATERIALIZED (
    SELECT candidate.id
    FROM amop.undelivered_report AS candidate
    WHERE candidate.next_attempt_at <= (SELECT present.now FROM present)
    ORDER BY candidate.next_attempt_at, candidate.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)

UPDATE amop.undelivered_report AS report
SET
    attempts = report.attempts + 1,
    next_attempt_at = (SELECT present.now FROM present) + make_interval(
        secs => least(
            %(longest_delay_seconds)s::double precision,
            %(first_delay_seconds)s::double precision * power(2, least(report.attempts, 30))
        )
    )
WHERE report.id = any(array(SELECT due.id FROM due))
RETURNING
    report.id, report.kind, report.run_id, report.instance_id, report.address, report.error, report.attempts,
    report.created_at
