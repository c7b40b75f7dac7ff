-- Purpose: block all calls of an API user for a number of seconds, because the carrier requested it (Retry-After).
-- Parameters: api_user (text), seconds (double precision).
-- Locks: the API user's row, within one statement.
-- Repeatable: a later end replaces an earlier one.
INSERT INTO amop.carrier_api_user AS known (api_user, blocked_until)
VALUES (%(api_user)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (api_user) DO UPDATE SET
blocked_until = greatest(known.blocked_until, excluded.blocked_until)
