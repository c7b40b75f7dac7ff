-- Purpose: store the solved cost with its proof: lower bound, gap and certificate.
-- Parameters: instance_id, total_cost, lower_bound, gap, certificate (jsonb).
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET
    total_cost = %(total_cost)s,
    lower_bound = %(lower_bound)s,
    gap = %(gap)s,
    certificate = %(certificate)s
WHERE id = %(instance_id)s
