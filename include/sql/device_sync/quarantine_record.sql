-- Purpose: quarantine a record with its raw form, the rule it broke and where it was read.
-- Parameters: run_id, kind (device | usage), source, record_key, raw (jsonb), is_exact, reason, iccid, usage_type,
--   rate_plan_code, rate_plan_version, scan_pass, page_number, row_number, now.
-- Locks: none beyond the new row.
-- Repeatable: one row per run, kind and record; the first reason is kept.
INSERT INTO amop.device_quarantine (
    run_id, kind, source, record_key, raw, is_exact, reason, iccid, usage_type, rate_plan_code, rate_plan_version,
    scan_pass, page_number, row_number, quarantined_at
)
VALUES (
    %(run_id)s, %(kind)s, %(source)s, %(record_key)s, %(raw)s, %(is_exact)s, %(reason)s, %(iccid)s, %(usage_type)s,
    %(rate_plan_code)s, %(rate_plan_version)s, %(scan_pass)s, %(page_number)s, %(row_number)s, %(now)s
)
ON CONFLICT DO NOTHING
