-- Purpose: how long this session waits for its turn.
-- Parameters: milliseconds (integer).
-- Locks: none.
-- Repeatable: the same setting again.
SELECT set_config('lock_timeout', %(milliseconds)s::integer || 'ms', false)
