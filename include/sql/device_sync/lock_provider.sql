-- Purpose: wait for and take the provider's lock until the transaction ends: one writer per provider.
-- Parameters: service_provider_id.
-- Locks: a transaction-level advisory lock of class 7001.
-- Repeatable: a session may take it again.
SELECT pg_advisory_xact_lock(7001, %(service_provider_id)s::integer)
