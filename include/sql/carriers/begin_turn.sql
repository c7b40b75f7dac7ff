-- Purpose: begin a turn of consecutive calls of an API user, whose pace the process keeps itself, and return what it
--   needs for that: the circuit breaker, the seconds since the end of each of the latest calls and the duration that
--   counts as that of the fastest call. No turn begins while the circuit is open or the carrier asked for a pause, and
--   none before the API user's first call. A full window of calls is recorded as if they began with the end of the
--   turn: what a process that is killed has called is not known, and no other one calls too early. Where the clock was
--   set back, an end that no call can have yet counts as in begin_call.
-- Parameters: api_user (text), calls (integer, calls per window), turn_seconds (longest turn), calls_to_learn (integer,
--   answered calls before the fastest counts), counted_share (share of the fastest that counts), now (timestamptz of
--   the circuit breaker, null = the database's clock).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock, until it has recorded
--   the true ends with end_turn.
-- Repeatable: no; a turn that has begun is ended by end_turn.
WITH present AS MATERIALIZED (
    SELECT
        clock_timestamp() AS moment,
        coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
),

account AS MATERIALIZED (
    SELECT
        api_user,
        failures,
        failing_since,
        open_until,
        last_failure,
        recent_calls,
        blocked_until,
        CASE
            WHEN timed_calls >= %(calls_to_learn)s THEN fastest_seconds * %(counted_share)s::double precision
        END AS counted_seconds
    FROM amop.carrier_api_user
    WHERE api_user = %(api_user)s
    FOR UPDATE
),

decision AS (
    SELECT
        present.moment,
        present.now,
        coalesce(account.failures, 0) AS failures,
        account.failing_since,
        account.open_until,
        account.last_failure,
        coalesce(account.counted_seconds, 0)::double precision AS fastest_seconds,
        coalesce(account.recent_calls, '{}') AS recent_calls,
        account.api_user IS NOT NULL
        AND coalesce(account.open_until <= present.now, true)
        AND coalesce(account.blocked_until <= present.moment, true) AS is_begun
    FROM present
    LEFT JOIN account ON true
),

reserved AS (
    UPDATE amop.carrier_api_user AS stored
    SET
        recent_calls = array_fill(
            decision.moment
            + make_interval(secs => %(turn_seconds)s::double precision + decision.fastest_seconds),
            ARRAY[%(calls)s::integer]
        )
    FROM decision
    WHERE stored.api_user = %(api_user)s AND decision.is_begun
)

SELECT
    decision.failures,
    decision.failing_since,
    decision.open_until,
    decision.last_failure,
    decision.now,
    decision.is_begun,
    decision.fastest_seconds,
    (
        SELECT
            coalesce(
                array_agg(
                    greatest(
                        extract(EPOCH FROM decision.moment - latest.ended_at)::double precision,
                        -%(turn_seconds)s::double precision - decision.fastest_seconds
                    ) ORDER BY latest.place
                ),
                '{}'
            )
        FROM unnest(decision.recent_calls) WITH ORDINALITY AS latest (ended_at, place)
    ) AS ages
FROM decision
