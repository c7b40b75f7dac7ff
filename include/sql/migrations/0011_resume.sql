-- Purpose: reports that could not be delivered at once and are delivered again in the background; how often a sync run
--   was cleared, and how it is executed, so that it can be resumed and one whose process is gone can be taken over.
-- Parameters: none.
-- Locks: creates new objects; device_sync_run, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.undelivered_report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('sync_log', 'notification', 'archive', 'workbook', 'mail')),
    run_id bigint REFERENCES amop.device_sync_run ON DELETE CASCADE,
    instance_id bigint REFERENCES amop.optimization_instance ON DELETE CASCADE,
    address text,
    error text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    next_attempt_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT undelivered_report_of_run_or_instance CHECK (num_nonnulls(run_id, instance_id) = 1),
    CONSTRAINT undelivered_report_once UNIQUE NULLS NOT DISTINCT (kind, run_id, instance_id)
);
COMMENT ON TABLE amop.undelivered_report IS
'Reports that could not be delivered by their task; amop_relay delivers them and deletes the row.';
COMMENT ON COLUMN amop.undelivered_report.kind IS
'sync_log and archive: objects in S3; notification: the queue message; workbook and mail: of an optimization.';
COMMENT ON COLUMN amop.undelivered_report.address IS 'Address of the DAG run in Airflow, which the mail links to.';
COMMENT ON COLUMN amop.undelivered_report.attempts IS 'Attempts so far, the first one by the task included.';
COMMENT ON COLUMN amop.undelivered_report.error IS 'Error of the latest attempt.';

ALTER TABLE amop.device_sync_run
ADD COLUMN report_warnings text[] NOT NULL DEFAULT '{}',
ADD COLUMN clear_number integer NOT NULL DEFAULT 0,
ADD COLUMN is_one_process boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN amop.device_sync_run.report_warnings IS
'Reports of the run that could not be delivered at once; unlike warnings, they do not question its data.';
COMMENT ON COLUMN amop.device_sync_run.clear_number IS
'Number of times that an operator had cleared the DAG run, as the tasks of this run last saw it.';
COMMENT ON COLUMN amop.device_sync_run.is_one_process IS
'True: one process executes all tasks of the run (airflow dags test); no scheduler resumes it after a kill.';
