-- Purpose: store the number of expected and placed SIMs of an instance, of SIMs whose plan or activation is unknown,
--   whose plan was applied after the last list or may still change, and a warning; record that the inputs were read.
-- Parameters: instance_id, device_count, expected_device_count, kept_device_count, sms_unread_count,
--   unknown_plan_count, unknown_activation_count, unknown_activation_cost, applied_plan_count, change_in_doubt_count,
--   warning.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET
    device_count = %(device_count)s,
    expected_device_count = %(expected_device_count)s,
    kept_device_count = %(kept_device_count)s,
    sms_unread_count = %(sms_unread_count)s,
    unknown_plan_count = %(unknown_plan_count)s,
    unknown_activation_count = %(unknown_activation_count)s,
    unknown_activation_cost = %(unknown_activation_cost)s,
    applied_plan_count = %(applied_plan_count)s,
    change_in_doubt_count = %(change_in_doubt_count)s,
    warning = %(warning)s,
    inputs_read_at = now()
WHERE id = %(instance_id)s
