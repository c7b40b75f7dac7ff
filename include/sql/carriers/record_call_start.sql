-- Purpose: record the start of a call and keep only the latest calls; record_call_end replaces the start with the end.
-- Parameters: api_user (text), calls (integer, number of calls to keep).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock.
-- Repeatable: no; run once per call.
INSERT INTO amop.carrier_api_user AS known (api_user, recent_calls)
VALUES (%(api_user)s, ARRAY[clock_timestamp()])
ON CONFLICT (api_user) DO UPDATE SET
recent_calls = (known.recent_calls || clock_timestamp())[
    greatest(1, cardinality(known.recent_calls) + 2 - %(calls)s):
]
