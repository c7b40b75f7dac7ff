-- Purpose: claim the next call of an API user and return how long to wait before it; no row when that is too long.
--   A call may start one window after the END of the call that was so many calls before it: the carrier counts a call
--   when it arrives, which is never later than its end. The claim stands in recent_calls as the latest moment at which
--   the call can still be running; end_call puts its real end there. If the caller is killed, the claim stays, and the
--   next caller waits for that moment, because the carrier may still be answering.
-- Parameters: api_user, calls (in any window, integer), window_seconds, unfinished_seconds (how long a call of a killed
--   process may still run), longest_hold_seconds (a longer wait is not claimed), kept_calls (integer).
-- Locks: the API user's row; the caller holds its advisory lock.
-- Repeatable: no, every claim counts as a call: too slow at worst, never too fast.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS present
),

slot AS (
    SELECT
        clock.present,
        greatest(
            clock.present,
            least(api_user.recent_calls[cardinality(api_user.recent_calls) - %(calls)s + 1], clock.present)
            + make_interval(secs => %(window_seconds)s),
            -- A moment further off than any claim comes from a clock that was set back.
            least(
                api_user.recent_calls[cardinality(api_user.recent_calls)],
                clock.present + make_interval(secs => %(unfinished_seconds)s + %(longest_hold_seconds)s)
            ),
            api_user.blocked_until
        ) AS starts_at
    FROM amop.carrier_api_user AS api_user
    CROSS JOIN clock
    WHERE api_user.api_user = %(api_user)s
)

UPDATE amop.carrier_api_user AS api_user
SET
    recent_calls = (
        api_user.recent_calls || (slot.starts_at + make_interval(secs => %(unfinished_seconds)s))
    )[greatest(cardinality(api_user.recent_calls) + 2 - %(kept_calls)s, 1):]
FROM slot
WHERE
    api_user.api_user = %(api_user)s
    AND slot.starts_at <= slot.present + make_interval(secs => %(longest_hold_seconds)s)
RETURNING extract(EPOCH FROM slot.starts_at - slot.present)::double precision AS wait_seconds
