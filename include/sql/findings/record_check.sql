-- Purpose: record the check of a provider.
-- Parameters: service_provider_id, run_id, now, totals (jsonb).
-- Locks: the provider's row of finding_check.
-- Repeatable: yes.
INSERT INTO amop.finding_check (service_provider_id, run_id, checked_at, totals)
VALUES (%(service_provider_id)s, %(run_id)s, %(now)s, %(totals)s)
ON CONFLICT (service_provider_id) DO UPDATE
SET
    run_id = excluded.run_id,
    checked_at = excluded.checked_at,
    totals = excluded.totals
