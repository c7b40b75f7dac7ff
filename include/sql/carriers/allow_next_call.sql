-- Purpose: let the next call probe failing carriers at once, for instance after a carrier has reported its recovery.
-- Parameters: none.
-- Locks: the rows of the failing API users.
-- Repeatable: changes nothing more.
UPDATE amop.carrier_api_user
SET open_until = NULL
WHERE failures > 0 AND open_until IS NOT NULL
