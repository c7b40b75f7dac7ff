-- Purpose: open the what-if of a DAG run and return its id; a cleared run begins its what-if again.
-- Parameters: service_provider_id, integration (name; the provider must be on it), dag_id, dag_run_id, rate_plans
--   (CSV), ladder_size (null = all new plans at once), now.
-- Locks: the row.
-- Repeatable: yes.
INSERT INTO amop.what_if (service_provider_id, dag_id, dag_run_id, rate_plans, ladder_size, started_at)
SELECT
    provider.id,
    %(dag_id)s,
    %(dag_run_id)s,
    %(rate_plans)s,
    %(ladder_size)s,
    %(now)s
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE provider.id = %(service_provider_id)s AND integration.name = %(integration)s
ON CONFLICT (dag_id, dag_run_id) DO UPDATE
SET
    status = 'running',
    error = NULL,
    started_at = excluded.started_at,
    ended_at = NULL
RETURNING id
