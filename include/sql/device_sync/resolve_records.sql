-- Purpose: mark quarantined records as resolved.
-- Parameters: ids (bigint[]), resolution, now.
-- Locks: the rows that change.
-- Repeatable: a resolved record is not written again; records are never deleted here.
UPDATE amop.device_quarantine
SET resolved_at = %(now)s, resolution = %(resolution)s
WHERE id = any(%(ids)s::bigint[]) AND resolved_at IS NULL
