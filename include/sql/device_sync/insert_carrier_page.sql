-- Purpose: store an answer of the carrier as received, in the transaction that stages it.
-- Parameters: run_id, kind, scan_pass, rate_plan_code, rate_plan_version, usage_type, iccid, page_number, is_refusal,
--   received_at, document (JSON, gzip).
-- Locks: none beyond the new row.
-- Repeatable: the first answer is kept.
INSERT INTO amop.carrier_page (
    run_id, kind, scan_pass, rate_plan_code, rate_plan_version, usage_type, iccid, page_number, is_refusal, received_at,
    document
)
VALUES (
    %(run_id)s, %(kind)s, %(scan_pass)s, %(rate_plan_code)s, %(rate_plan_version)s, %(usage_type)s, %(iccid)s,
    %(page_number)s, %(is_refusal)s, %(received_at)s, %(document)s
)
ON CONFLICT DO NOTHING
