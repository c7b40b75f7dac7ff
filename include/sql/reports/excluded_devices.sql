-- Purpose: return the excluded SIMs of an instance with the reason's code and their present state.
-- Parameters: instance_id, reasons (text[], the codes in the order in which they are shown).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    device.iccid,
    device.status,
    device.communication_plan,
    device.rate_plan,
    sim.usage_mb::double precision,
    excluded_device.reason
FROM amop.optimization_device_excluded AS excluded_device
INNER JOIN amop.device AS device ON excluded_device.device_id = device.id
LEFT JOIN amop.optimization_device AS sim
    ON excluded_device.instance_id = sim.instance_id AND excluded_device.device_id = sim.device_id
WHERE excluded_device.instance_id = %(instance_id)s
ORDER BY array_position(%(reasons)s::text[], excluded_device.reason), device.iccid COLLATE "C"
