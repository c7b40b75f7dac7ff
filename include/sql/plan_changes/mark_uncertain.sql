-- Purpose: mark the unsent plan changes of an instance whose SIM is to be read first, because the device list does not
--   say its plan for certain: no plan is known, the plan was applied after the list was begun, the record of the SIM is
--   quarantined, or the SIM has a final status.
-- Parameters: instance_id, final_statuses (text[], upper case).
-- Locks: the rows.
-- Repeatable: yes; marked rows are not written again.
UPDATE amop.rate_plan_change AS change
SET is_read_first = true
FROM amop.device AS device
LEFT JOIN amop.optimization_device AS sim
    ON device.id = sim.device_id AND sim.instance_id = %(instance_id)s AND sim.plan_is_applied
WHERE
    change.instance_id = %(instance_id)s
    AND change.device_id = device.id
    AND change.state = 'approved'
    AND change.sent_at IS NULL
    AND NOT change.is_read_first
    AND (
        change.from_rate_plan IS NULL
        OR sim.device_id IS NOT NULL
        OR upper(device.status) = any(%(final_statuses)s)
        OR device.iccid IN (
            SELECT record.iccid FROM amop.device_quarantine AS record
            WHERE record.kind = 'device' AND record.resolved_at IS NULL AND record.iccid IS NOT NULL
        )
    )
