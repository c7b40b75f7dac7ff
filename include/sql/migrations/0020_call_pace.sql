-- Purpose: remember how fast an API user's fastest calls were, so that the pace counts arrivals instead of ends.
-- Locks: carrier_api_user, exclusively and briefly; otherwise creates nothing.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.carrier_api_user
ADD COLUMN fastest_seconds double precision CHECK (fastest_seconds >= 0),
ADD COLUMN timed_calls bigint NOT NULL DEFAULT 0 CHECK (timed_calls >= 0);
COMMENT ON COLUMN amop.carrier_api_user.recent_calls IS
'For each of the latest calls its end. Before it has ended: its start, plus the duration of the fastest call.';
COMMENT ON COLUMN amop.carrier_api_user.fastest_seconds IS
'Duration of the fastest answered call; it grows slowly, so that it follows a carrier that has become slower.';
COMMENT ON COLUMN amop.carrier_api_user.timed_calls IS 'Number of calls from which fastest_seconds is learned.';
