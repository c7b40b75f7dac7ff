-- Purpose: delete a batch of the rows of an instance whose SIMs are no longer needed.
-- Parameters: instance_id, batch (rows).
-- Locks: the deleted rows.
-- Repeatable: deletes what is left.
DELETE FROM amop.optimization_solved_assignment
WHERE ctid = any(array(
    SELECT sim.ctid FROM amop.optimization_solved_assignment AS sim
    WHERE sim.instance_id = %(instance_id)s
    ORDER BY sim.instance_id
    LIMIT %(batch)s
))
