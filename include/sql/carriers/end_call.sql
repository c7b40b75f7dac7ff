-- Purpose: record the end of the latest call in place of its start, and learn the duration of the fastest call.
-- Parameters: api_user (text), seconds (double precision, duration of an answered call; null = there was no answer),
--   growth (double precision, factor by which the known fastest call grows with each answered one).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock.
-- Repeatable: a later end replaces an earlier one.
UPDATE amop.carrier_api_user
SET
    recent_calls = recent_calls[1:cardinality(recent_calls) - 1] || clock_timestamp(),
    fastest_seconds = CASE
        WHEN %(seconds)s::double precision IS NULL THEN fastest_seconds
        ELSE least(%(seconds)s::double precision, fastest_seconds * %(growth)s::double precision)
    END,
    timed_calls = timed_calls + (%(seconds)s::double precision IS NOT NULL)::integer
WHERE api_user = %(api_user)s
