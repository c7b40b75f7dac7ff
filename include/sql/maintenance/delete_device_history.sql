-- Purpose: delete the device history of a batch of SIMs before a day; the row that is in force on that day is kept.
-- Parameters: before (date), after and upto (ids of SIMs).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows.
DELETE FROM amop.device_history AS history
USING amop.device_history AS later
WHERE
    history.device_id > %(after)s AND history.device_id <= %(upto)s
    AND history.valid_from < %(before)s
    AND history.device_id = later.device_id
    AND later.valid_from > history.valid_from
    AND later.valid_from <= %(before)s
