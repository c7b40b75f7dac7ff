-- Purpose: stage the readable details of one SIM.
-- Parameters: run_id, iccid, imsi, msisdn, imei, date_activated, is_complete (false: a field was unreadable, or the
--   carrier refused the read), now.
-- Locks: none beyond the new row.
-- Repeatable: the first answer is kept.
INSERT INTO amop.device_detail_staging (
    run_id, iccid, imsi, msisdn, imei, date_activated, is_complete, received_at
)
VALUES (
    %(run_id)s, %(iccid)s, %(imsi)s, %(msisdn)s, %(imei)s, %(date_activated)s, %(is_complete)s, %(now)s
)
ON CONFLICT DO NOTHING
