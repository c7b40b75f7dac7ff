-- Purpose: record the ends of the latest calls of a turn in place of its reservation, and learn the duration of the
--   fastest call.
-- Parameters: api_user (text), ages (double precision[], seconds since the end of each of the latest calls, oldest
--   first), answered (integer, answered calls of the turn), fastest (double precision, duration of the fastest of them;
--   null = none), growth (double precision, factor by which the known fastest call grows with each answered one).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock since begin_turn.
-- Repeatable: later ends replace earlier ones.
UPDATE amop.carrier_api_user
SET
    recent_calls = (
        SELECT coalesce(array_agg(clock_timestamp() - make_interval(secs => latest.age) ORDER BY latest.place), '{}')
        FROM unnest(%(ages)s::double precision[]) WITH ORDINALITY AS latest (age, place)
    ),
    fastest_seconds = least(
        %(fastest)s::double precision,
        fastest_seconds * power(%(growth)s::double precision, %(answered)s::integer)
    ),
    timed_calls = timed_calls + %(answered)s::integer
WHERE api_user = %(api_user)s
