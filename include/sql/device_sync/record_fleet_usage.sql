-- Purpose: record the total usage of the fleet that a run read, of one usage type, in the transaction of the merge.
-- Parameters: run_id, usage_type, sim_count, used_count, total.
-- Locks: the row.
-- Repeatable: yes; the same row is written again.
INSERT INTO amop.fleet_usage (run_id, usage_type, sim_count, used_count, total)
VALUES (%(run_id)s, %(usage_type)s, %(sim_count)s, %(used_count)s, %(total)s)
ON CONFLICT (run_id, usage_type) DO UPDATE
SET sim_count = excluded.sim_count, used_count = excluded.used_count, total = excluded.total
