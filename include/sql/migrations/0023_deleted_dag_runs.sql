-- Purpose: whether the DAG run of a failed sync or session was deleted in Airflow, so that it cannot be cleared; and
--   the bill without the cap on plan changes, where the cap is reached.
-- Parameters: none.
-- Locks: device_sync_run, optimization_session and optimization_instance, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.device_sync_run ADD COLUMN dag_run_deleted_at timestamptz;
COMMENT ON COLUMN amop.device_sync_run.dag_run_deleted_at IS
'When Airflow was found without the DAG run of the failed run; of no account if the run has ended again since.';

ALTER TABLE amop.optimization_session ADD COLUMN dag_run_deleted_at timestamptz;
COMMENT ON COLUMN amop.optimization_session.dag_run_deleted_at IS
'When Airflow was found without any DAG run that could continue the failed session, or send its plan changes.';

ALTER TABLE amop.optimization_instance
ADD COLUMN uncapped_cost numeric(24, 6),
ADD COLUMN uncapped_change_count integer,
ADD CONSTRAINT uncapped_together CHECK ((uncapped_cost IS NULL) = (uncapped_change_count IS NULL));
COMMENT ON COLUMN amop.optimization_instance.uncapped_cost IS
'Solved bill without the cap on the number of plan changes (maximum_changes); null where the cap was not reached.';
COMMENT ON COLUMN amop.optimization_instance.uncapped_change_count IS
'SIMs that change their plan in that bill.';
