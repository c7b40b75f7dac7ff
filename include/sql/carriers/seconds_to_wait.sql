-- Purpose: return how long a call of this API user must wait: until the window after the end of the oldest of its
--   latest calls has passed, and until a block has ended. The clock is the database's, shared by all machines.
-- Parameters: api_user (text), calls (integer, calls per window), window_seconds.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    greatest(
        0,
        CASE
            WHEN cardinality(recent_calls) >= %(calls)s
                THEN
                    extract(EPOCH FROM recent_calls[cardinality(recent_calls) - %(calls)s + 1] - clock_timestamp())
                    + %(window_seconds)s::double precision
        END,
        extract(EPOCH FROM blocked_until - clock_timestamp())
    )::double precision AS seconds
FROM amop.carrier_api_user
WHERE api_user = %(api_user)s
