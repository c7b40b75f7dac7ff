-- Purpose: begin a call of an API user if it is allowed now, and return its circuit breaker and the seconds to wait.
--   A call arrives at the carrier after its start and before its end, and the time before its arrival and after it is
--   at least the duration of the fastest call. So the call that is a window after the end of the oldest of the latest
--   calls, less that duration, arrives a window after that one has arrived, however slow either of them is. A call
--   that has not ended counts from its start. The clock of the pace is the database's, shared by all machines; where it
--   was set back, an end that no call can have yet counts as that of the longest turn that may have begun now.
-- Parameters: api_user (text), calls (integer, calls per window), window_seconds, turn_seconds (longest turn of
--   consecutive calls), calls_to_learn (integer, answered calls before the fastest counts), counted_share (share of the
--   fastest that counts), now (timestamptz of the circuit breaker, null = the database's clock).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock. The end of the call
--   before is committed just after its lock is released: FOR UPDATE waits for it and reads its row.
-- Repeatable: no; run until the seconds are 0 and the circuit is closed: then it has recorded the start of the call.
WITH present AS MATERIALIZED (
    SELECT
        clock_timestamp() AS moment,
        coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
),

account AS MATERIALIZED (
    SELECT
        failures,
        failing_since,
        open_until,
        last_failure,
        recent_calls,
        blocked_until,
        fastest_seconds,
        timed_calls
    FROM amop.carrier_api_user
    WHERE api_user = %(api_user)s
    FOR UPDATE
),

known AS (
    SELECT
        present.moment,
        present.now,
        coalesce(account.failures, 0) AS failures,
        account.failing_since,
        account.open_until,
        account.last_failure,
        CASE
            WHEN account.timed_calls >= %(calls_to_learn)s
                THEN account.fastest_seconds * %(counted_share)s::double precision
            ELSE 0
        END AS fastest_seconds,
        account.recent_calls[cardinality(account.recent_calls) - %(calls)s + 1] AS oldest_call,
        account.blocked_until
    FROM present
    LEFT JOIN account ON true
),

decision AS (
    SELECT
        known.*,
        greatest(
            0,
            CASE
                WHEN known.oldest_call IS NOT NULL
                    THEN
                        least(
                            extract(EPOCH FROM known.oldest_call - known.moment)::double precision,
                            %(turn_seconds)s::double precision + coalesce(known.fastest_seconds, 0)
                        ) + %(window_seconds)s::double precision - coalesce(known.fastest_seconds, 0)
            END,
            extract(EPOCH FROM known.blocked_until - known.moment)
        )::double precision AS seconds
    FROM known
),

begun AS (
    INSERT INTO amop.carrier_api_user AS stored (api_user, recent_calls)
    SELECT
        %(api_user)s,
        ARRAY[decision.moment + make_interval(secs => coalesce(decision.fastest_seconds, 0))]
    FROM decision
    WHERE decision.seconds <= 0 AND coalesce(decision.open_until <= decision.now, true)
    ON CONFLICT (api_user) DO UPDATE SET
    recent_calls = (stored.recent_calls || excluded.recent_calls)[
        greatest(1, cardinality(stored.recent_calls) + 2 - %(calls)s):
    ]
)

SELECT
    decision.failures,
    decision.failing_since,
    decision.open_until,
    decision.last_failure,
    decision.now,
    decision.seconds
FROM decision
