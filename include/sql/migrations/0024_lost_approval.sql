-- Purpose: whether the task that waits for an approval was marked or ended in Airflow, so that no one can answer.
-- Parameters: none.
-- Locks: optimization_session, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_session ADD COLUMN approval_lost_at timestamptz;
COMMENT ON COLUMN amop.optimization_session.approval_lost_at IS
'When the DAG run whose approval is awaited was found ended in Airflow; null again once it is cleared.';
