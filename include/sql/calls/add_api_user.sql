-- Purpose: the row of an API user, before its first call.
-- Parameters: api_user (text, no secret).
-- Locks: none beyond the new row.
-- Repeatable: a row that exists is left alone.
INSERT INTO amop.carrier_api_user (api_user) VALUES (%(api_user)s)
ON CONFLICT DO NOTHING
