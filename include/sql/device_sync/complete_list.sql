-- Purpose: mark the device list of a run as complete and store the number of SIMs in it. Usage read from now on belongs
--   to the run's billing period: if that period has ended, it is as of the period's last instant.
-- Parameters: run_id, list_is_exact, now.
-- Locks: the run's row.
-- Repeatable: counts again and writes the same values.
UPDATE amop.device_sync_run
SET
    list_is_complete = true,
    list_is_exact = %(list_is_exact)s,
    usage_as_of = least(
        %(now)s::timestamptz,
        (
            SELECT period.cycle_end - interval '1 microsecond' FROM amop.billing_period AS period
            WHERE period.id = device_sync_run.billing_period_id
        )
    ),
    progress_at = greatest(progress_at, %(now)s),
    devices_seen = (
        SELECT count(DISTINCT staged.iccid) FROM amop.device_staging AS staged WHERE staged.run_id = %(run_id)s
    ) + (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s
            AND rejected.kind = 'device'
            AND rejected.source IS DISTINCT FROM 'device_details'
            AND NOT EXISTS (
                SELECT 1 FROM amop.device_staging AS staged
                WHERE staged.run_id = rejected.run_id AND staged.iccid = rejected.record_key
            )
    ),
    work_rows_queued = (
        SELECT count(*) FROM amop.device_usage_to_process AS work
        WHERE work.run_id = %(run_id)s AND work.kind <> 'device_list'
    )
WHERE id = %(run_id)s
