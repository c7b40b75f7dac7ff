-- Purpose: record that the write request of a plan change is about to be sent. No row is updated if the change was
--   withdrawn, a newer instance has superseded it, its instance is no longer approved, or the settings of the provider
--   (switched off included) or of the run no longer allow writes.
-- Parameters: change_id, now.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.rate_plan_change AS change
SET sent_at = %(now)s
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
WHERE
    change.id = %(change_id)s
    AND change.state = 'approved'
    AND instance.id = change.instance_id
    AND instance.changes_status IN ('approved', 'stopped')
    AND instance.apply_changes <> 'never'
    AND provider.is_active
    AND provider.write_is_enabled
    AND provider.can_auto_update_rate_plans
    AND amop.newer_instance(change.instance_id) IS NULL
