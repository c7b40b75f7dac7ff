-- Purpose: stage the details of one SIM.
-- Parameters: run_id, iccid, imsi, msisdn, imei, date_activated, now.
-- Locks: none beyond the new row.
-- Repeatable: the first answer is kept.
INSERT INTO amop.device_detail_staging (run_id, iccid, imsi, msisdn, imei, date_activated, received_at)
VALUES (%(run_id)s, %(iccid)s, %(imsi)s, %(msisdn)s, %(imei)s, %(date_activated)s, %(now)s)
ON CONFLICT DO NOTHING
