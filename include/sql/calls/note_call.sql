-- Purpose: note the start of a call, keeping the latest ones only; note_end_of_call puts its end there.
-- Parameters: api_user (text), calls (integer, how many to keep).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock.
-- Repeatable: no; it is run once for every call.
INSERT INTO amop.carrier_api_user AS known (api_user, recent_calls)
VALUES (%(api_user)s, ARRAY[clock_timestamp()])
ON CONFLICT (api_user) DO UPDATE SET
recent_calls = (known.recent_calls || clock_timestamp())[
    greatest(1, cardinality(known.recent_calls) + 2 - %(calls)s):
]
