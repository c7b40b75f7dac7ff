-- Purpose: set a record aside with its raw form and the rule that it broke.
-- Parameters: run_id, kind (device | usage), record_key, raw (jsonb), reason, now.
-- Locks: none beyond the new row.
-- Repeatable: one row per run, kind and record; the first reason is kept.
INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason, quarantined_at)
VALUES (%(run_id)s, %(kind)s, %(record_key)s, %(raw)s, %(reason)s, %(now)s)
ON CONFLICT DO NOTHING
