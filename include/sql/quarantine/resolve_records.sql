-- Purpose: note that records in quarantine have found their way back.
-- Parameters: ids (bigint[]), resolution (text), now.
-- Locks: the rows that change.
-- Repeatable: a resolved record is not written again; it is never deleted here.
UPDATE amop.device_quarantine
SET resolved_at = %(now)s, resolution = %(resolution)s
WHERE id = any(%(ids)s::bigint[]) AND resolved_at IS NULL
