-- Purpose: the SIMs that an instance left out, with the reason's code and what is known of them.
-- Parameters: instance_id, reasons (text[], the codes in the order in which they are shown).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    device.iccid,
    device.status,
    device.communication_plan,
    device.rate_plan,
    sim.usage_mb::double precision,
    left_out.reason
FROM amop.optimization_device_left_out AS left_out
INNER JOIN amop.device AS device ON left_out.device_id = device.id
LEFT JOIN amop.optimization_device AS sim
    ON left_out.instance_id = sim.instance_id AND left_out.device_id = sim.device_id
WHERE left_out.instance_id = %(instance_id)s
ORDER BY array_position(%(reasons)s::text[], left_out.reason), device.iccid COLLATE "C"
