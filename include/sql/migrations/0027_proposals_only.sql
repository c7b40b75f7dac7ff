-- Purpose: an optimization that only proposes (apply_changes = never) supersedes no plan changes that may be applied;
--   and an error whose DAG run was deleted gives no advice to resume it.
-- Parameters: none.
-- Locks: the rows of failed runs and sessions whose DAG run was deleted, briefly; otherwise replaces a function only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE OR REPLACE FUNCTION amop.newer_instance(older_instance_id bigint)
RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT newer.id
    FROM amop.optimization_instance AS older
    INNER JOIN amop.optimization_session AS older_session ON older.session_id = older_session.id
    INNER JOIN amop.billing_period AS older_period ON older_session.billing_period_id = older_period.id
    INNER JOIN amop.optimization_session AS newer_session
        ON older_session.service_provider_id = newer_session.service_provider_id
    INNER JOIN amop.billing_period AS newer_period ON newer_session.billing_period_id = newer_period.id
    INNER JOIN amop.optimization_instance AS newer ON newer_session.id = newer.session_id
    WHERE
        older.id = older_instance_id
        AND newer.id > older.id
        AND newer.run_status = 'complete_with_success'
        AND newer_period.cycle_end >= older_period.cycle_end
        AND (newer.apply_changes <> 'never' OR older.apply_changes = 'never')
    ORDER BY newer.id DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION amop.newer_instance IS
'The newest completed instance of the same provider for the same billing period or a later one: it makes the older one
stale. One that only proposes (apply_changes = never) makes no other stale, unless that one only proposed, too.';

CREATE FUNCTION amop.error_without_resume(error text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT replace(
        regexp_replace(error, '\s*[^.]*`bin/amop runs resume [0-9]+`[^.]*\.?', '', 'g'),
        'clear that run, or start the provider again',
        'start the provider again'
    )
$$;
COMMENT ON FUNCTION amop.error_without_resume IS
'An error without the sentences that advise to resume or to clear its DAG run, which was deleted in Airflow.';

UPDATE amop.device_sync_run
SET error = amop.error_without_resume(error)
WHERE status IN ('failed', 'refused') AND dag_run_deleted_at >= ended_at;
UPDATE amop.optimization_session
SET error = amop.error_without_resume(error)
WHERE status = 'failed' AND dag_run_deleted_at IS NOT NULL;
