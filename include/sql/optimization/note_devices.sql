-- Purpose: note on an instance how many SIMs it expected and placed, of how many the plan or the activation is unknown,
--   and a warning.
-- Parameters: instance_id, device_count, expected_device_count, unknown_plan_count, unknown_activation_count, warning.
-- Locks: the row.
-- Repeatable: the same figures are written again.
UPDATE amop.optimization_instance
SET
    device_count = %(device_count)s,
    expected_device_count = %(expected_device_count)s,
    unknown_plan_count = %(unknown_plan_count)s,
    unknown_activation_count = %(unknown_activation_count)s,
    warning = %(warning)s,
    inputs_read_at = now()
WHERE id = %(instance_id)s
