-- Purpose: insert the service providers of a reference file and update those that differ.
-- Parameters: entries (jsonb array, one object a provider, integration by name).
-- Locks: the rows that are written.
-- Repeatable: a provider that is already as in the file is not written and not returned.
INSERT INTO amop.service_provider AS stored (
    id,
    tenant_id,
    integration_id,
    name,
    connection_id,
    time_zone,
    is_active,
    bill_period_end_day,
    bill_period_end_hour,
    optimization_start_hour_local,
    uses_proration,
    prorates_allowance,
    pool_scope,
    rate_plan_limit,
    write_is_enabled,
    can_auto_update_rate_plans,
    detail_calls_per_run,
    maximum_bad_share,
    maximum_vanished_share,
    minimum_saving_per_change,
    maximum_changes,
    approval_above_changes,
    approval_above_amount,
    projection_method
)
SELECT
    entry.id,
    entry.tenant_id,
    integration.id AS integration_id,
    entry.name,
    entry.connection_id,
    entry.time_zone,
    entry.is_active,
    entry.bill_period_end_day,
    entry.bill_period_end_hour,
    entry.optimization_start_hour_local,
    entry.uses_proration,
    entry.prorates_allowance,
    entry.pool_scope,
    entry.rate_plan_limit,
    entry.write_is_enabled,
    entry.can_auto_update_rate_plans,
    entry.detail_calls_per_run,
    entry.maximum_bad_share,
    entry.maximum_vanished_share,
    entry.minimum_saving_per_change,
    entry.maximum_changes,
    entry.approval_above_changes,
    entry.approval_above_amount,
    entry.projection_method
FROM
    jsonb_to_recordset(%(entries)s::jsonb)
        AS entry (
            id bigint,
            tenant_id bigint,
            integration text,
            name text,
            connection_id text,
            time_zone text,
            is_active boolean,
            bill_period_end_day smallint,
            bill_period_end_hour smallint,
            optimization_start_hour_local smallint,
            uses_proration boolean,
            prorates_allowance boolean,
            pool_scope text,
            rate_plan_limit integer,
            write_is_enabled boolean,
            can_auto_update_rate_plans boolean,
            detail_calls_per_run integer,
            maximum_bad_share numeric,
            maximum_vanished_share numeric,
            minimum_saving_per_change numeric,
            maximum_changes integer,
            approval_above_changes integer,
            approval_above_amount numeric,
            projection_method text
        )
INNER JOIN amop.integration AS integration ON entry.integration = integration.name
ON CONFLICT (id) DO UPDATE
    SET
        tenant_id = excluded.tenant_id,
        integration_id = excluded.integration_id,
        name = excluded.name,
        connection_id = excluded.connection_id,
        time_zone = excluded.time_zone,
        is_active = excluded.is_active,
        bill_period_end_day = excluded.bill_period_end_day,
        bill_period_end_hour = excluded.bill_period_end_hour,
        optimization_start_hour_local = excluded.optimization_start_hour_local,
        uses_proration = excluded.uses_proration,
        prorates_allowance = excluded.prorates_allowance,
        pool_scope = excluded.pool_scope,
        rate_plan_limit = excluded.rate_plan_limit,
        write_is_enabled = excluded.write_is_enabled,
        can_auto_update_rate_plans = excluded.can_auto_update_rate_plans,
        detail_calls_per_run = excluded.detail_calls_per_run,
        maximum_bad_share = excluded.maximum_bad_share,
        maximum_vanished_share = excluded.maximum_vanished_share,
        minimum_saving_per_change = excluded.minimum_saving_per_change,
        maximum_changes = excluded.maximum_changes,
        approval_above_changes = excluded.approval_above_changes,
        approval_above_amount = excluded.approval_above_amount,
        projection_method = excluded.projection_method
    WHERE
    (
        stored.tenant_id, stored.integration_id, stored.name, stored.connection_id, stored.time_zone,
        stored.is_active, stored.bill_period_end_day, stored.bill_period_end_hour,
        stored.optimization_start_hour_local, stored.uses_proration, stored.prorates_allowance,
        stored.pool_scope, stored.rate_plan_limit, stored.write_is_enabled,
        stored.can_auto_update_rate_plans, stored.detail_calls_per_run, stored.maximum_bad_share,
        stored.maximum_vanished_share, stored.minimum_saving_per_change, stored.maximum_changes,
        stored.approval_above_changes, stored.approval_above_amount, stored.projection_method
    ) IS DISTINCT FROM (
        excluded.tenant_id, excluded.integration_id, excluded.name, excluded.connection_id, excluded.time_zone,
        excluded.is_active, excluded.bill_period_end_day, excluded.bill_period_end_hour,
        excluded.optimization_start_hour_local, excluded.uses_proration, excluded.prorates_allowance,
        excluded.pool_scope, excluded.rate_plan_limit, excluded.write_is_enabled,
        excluded.can_auto_update_rate_plans, excluded.detail_calls_per_run, excluded.maximum_bad_share,
        excluded.maximum_vanished_share, excluded.minimum_saving_per_change, excluded.maximum_changes,
        excluded.approval_above_changes, excluded.approval_above_amount, excluded.projection_method
    )
RETURNING stored.xmax = 0 AS was_inserted
