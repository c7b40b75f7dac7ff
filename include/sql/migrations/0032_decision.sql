-- Purpose: keep the decision on an instance's plan changes apart from what becomes of the changes that wait.
-- Parameters: none.
-- Locks: optimization_instance, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_instance ADD COLUMN changes_decision text;
COMMENT ON COLUMN amop.optimization_instance.changes_decision IS
'The decision in changes_reason, such as an operator''s answer, without what changes_reason adds about the changes that
wait; empty where all of them wait, null in rows older than this column.';
