-- Purpose: return the latest report of the same provider and billing period that was mailed since the start of its
--   local day, and whether it proposed the same plan changes: the same SIMs to the same rate plans.
-- Parameters: instance_id, day_start (timestamptz).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    earlier.report_mailed_at,
    NOT EXISTS (
        SELECT 1
        FROM (SELECT c.* FROM amop.rate_plan_change AS c WHERE c.instance_id = earlier.id) AS old
        FULL JOIN (SELECT c.* FROM amop.rate_plan_change AS c WHERE c.instance_id = present.id) AS new
            ON old.device_id = new.device_id AND old.to_rate_plan = new.to_rate_plan
        WHERE old.device_id IS NULL OR new.device_id IS NULL
    ) AS proposes_the_same
FROM amop.optimization_instance AS present
INNER JOIN amop.optimization_session AS session ON present.session_id = session.id
INNER JOIN amop.optimization_session AS earlier_session
    ON
        session.service_provider_id = earlier_session.service_provider_id
        AND session.billing_period_id = earlier_session.billing_period_id
INNER JOIN amop.optimization_instance AS earlier ON earlier_session.id = earlier.session_id
WHERE
    present.id = %(instance_id)s
    AND earlier.id < present.id
    AND earlier.report_mailed_at >= %(day_start)s
ORDER BY earlier.report_mailed_at DESC, earlier.id DESC
LIMIT 1
