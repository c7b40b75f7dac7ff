-- Purpose: whether the DAG run that is to send approved plan changes has ended, so that nothing sends the rest of them.
-- Parameters: none.
-- Locks: optimization_session, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_session ADD COLUMN applying_lost_at timestamptz;
COMMENT ON COLUMN amop.optimization_session.applying_lost_at IS
'When the DAG run that was to send approved plan changes was found ended in Airflow, with changes that were not sent;
null again once it is cleared.';
