-- Purpose: optimization instances with inputs, assignments, results and bill; plan changes; realised savings.
--   Tables with one row for each SIM have no foreign key to amop.device. It would be checked row by row and cannot
--   fail, because their rows come from joins with amop.device, of which no row is ever deleted.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.optimization_instance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL UNIQUE REFERENCES amop.optimization_session,
    device_count integer NOT NULL DEFAULT 0,
    expected_device_count integer NOT NULL DEFAULT 0,
    kept_device_count integer NOT NULL DEFAULT 0,
    sms_unread_count integer NOT NULL DEFAULT 0,
    unknown_plan_count integer NOT NULL DEFAULT 0,
    unknown_activation_count integer NOT NULL DEFAULT 0,
    unknown_activation_cost numeric(24, 6) NOT NULL DEFAULT 0,
    usage_as_of timestamptz,
    current_cost numeric(24, 6),
    base_cost numeric(24, 6),
    total_cost numeric(24, 6),
    lower_bound numeric(24, 6),
    savings numeric(24, 6),
    gap numeric,
    certificate jsonb,
    warning text,
    run_status text NOT NULL DEFAULT 'running'
    CHECK (run_status IN ('running', 'complete_with_success', 'complete_with_errors')),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    apply_changes text NOT NULL DEFAULT 'provider_setting'
    CHECK (apply_changes IN ('provider_setting', 'never')),
    inputs_read_at timestamptz,
    error text,
    report_uri text,
    report_mailed_at timestamptz,
    changes_status text CHECK (
        changes_status IN (
            'nothing_to_change', 'proposed_only', 'no_go', 'waiting', 'approved', 'rejected', 'superseded', 'stopped',
            'applied'
        )
    ),
    changes_reason text,
    changes_decided_by text,
    changes_decided_at timestamptz,
    changes_deadline timestamptz,
    changes_planned_by text,
    projection jsonb,
    devices_removed_at timestamptz
);
COMMENT ON TABLE amop.optimization_instance IS
'One optimization of a session. Costs are money for the whole billing period, of the forecast usage.';
COMMENT ON COLUMN amop.optimization_instance.device_count IS 'Eligible SIMs that were placed.';
COMMENT ON COLUMN amop.optimization_instance.kept_device_count IS
'SIMs that are billed on their present plan and were not to be moved; see optimization_device.kept_reason.';
COMMENT ON COLUMN amop.optimization_instance.sms_unread_count IS
'SIMs whose messages were not read: no rate plan with a price for messages was offered to them.';
COMMENT ON COLUMN amop.optimization_instance.unknown_plan_count IS
'SIMs whose present plan is unknown; current_cost counts them on their base assignment.';
COMMENT ON COLUMN amop.optimization_instance.unknown_activation_count IS
'SIMs whose activation date is unknown; they are billed for the whole period.';
COMMENT ON COLUMN amop.optimization_instance.unknown_activation_cost IS
'Rate charges in current_cost of SIMs whose activation date is unknown: with proration, up to so much is not due.';
COMMENT ON COLUMN amop.optimization_instance.usage_as_of IS 'The moment that the projection takes as now.';
COMMENT ON COLUMN amop.optimization_instance.current_cost IS 'Of the present plans.';
COMMENT ON COLUMN amop.optimization_instance.base_cost IS 'Of the base assignment.';
COMMENT ON COLUMN amop.optimization_instance.total_cost IS 'Of the solved assignment.';
COMMENT ON COLUMN amop.optimization_instance.lower_bound IS 'Proven: no assignment costs less.';
COMMENT ON COLUMN amop.optimization_instance.gap IS '(total_cost - lower_bound) / total_cost.';
COMMENT ON COLUMN amop.optimization_instance.certificate IS 'Proof of lower_bound, which can be checked on its own.';
COMMENT ON COLUMN amop.optimization_instance.changes_status IS
'State of the proposed plan changes; null = not planned yet. changes_reason explains it in a sentence.';
COMMENT ON COLUMN amop.optimization_instance.changes_deadline IS
'The last moment at which there is time to apply all of them before the billing period ends.';
COMMENT ON COLUMN amop.optimization_instance.changes_planned_by IS '<DAG id>/<run id> of the plan.';
COMMENT ON COLUMN amop.optimization_instance.projection IS
'The method of the projection and, for daily_history, its usage days: with usage_mb, history_days and the rows of
device_usage before the date of usage_as_of the projection can be computed again.';
COMMENT ON COLUMN amop.optimization_instance.devices_removed_at IS
'When retention deleted the inputs, assignments and results of the SIMs; costs, bill items and changes are kept.';

CREATE TABLE amop.optimization_comm_group (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    group_key text NOT NULL,
    rate_plan_ids bigint[] NOT NULL,
    communication_plans text[] NOT NULL,
    outcome text CHECK (
        outcome IN ('optimized', 'base_only', 'no_plans', 'no_devices', 'limit_exceeded', 'invalid_plan')
    ),
    device_count integer NOT NULL DEFAULT 0,
    current_cost numeric(24, 6),
    total_cost numeric(24, 6),
    UNIQUE (instance_id, group_key)
);
COMMENT ON TABLE amop.optimization_comm_group IS
'Communication plans of an instance that allow the same rate plans, as one group.';

CREATE TABLE amop.optimization_device (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL,
    comm_group_id bigint NOT NULL,
    iccid text NOT NULL,
    current_rate_plan_id bigint,
    usage_mb numeric(24, 6) NOT NULL,
    projected_usage_mb numeric(24, 6) NOT NULL,
    sms_usage bigint NOT NULL,
    days_activated smallint NOT NULL,
    is_prorated boolean NOT NULL,
    current_rate_plan text,
    history_days smallint NOT NULL DEFAULT 0,
    sms_is_read boolean NOT NULL DEFAULT true,
    kept_reason text CHECK (kept_reason IN ('not_placed', 'retired', 'sms_not_read')),
    is_billed boolean NOT NULL DEFAULT true,
    PRIMARY KEY (instance_id, device_id)
) WITH (fillfactor = 100);
COMMENT ON TABLE amop.optimization_device IS
'The inputs of an instance as they were at usage_as_of, one row for each eligible SIM.';
COMMENT ON COLUMN amop.optimization_device.usage_mb IS
'MB used in the period until usage_as_of, rounded half up; one MB is 1,048,576 bytes.';
COMMENT ON COLUMN amop.optimization_device.projected_usage_mb IS 'MB forecast for the whole period.';
COMMENT ON COLUMN amop.optimization_device.sms_usage IS 'Messages in the period.';
COMMENT ON COLUMN amop.optimization_device.days_activated IS 'Days of the period that are billed.';
COMMENT ON COLUMN amop.optimization_device.current_rate_plan IS
'As the carrier names it; current_rate_plan_id is null where carrier_rate_plan does not know it.';
COMMENT ON COLUMN amop.optimization_device.history_days IS
'Usage days that this SIM was projected from (amop.optimization.usage_history); 0 = usage x period / elapsed x 1.01.';

COMMENT ON COLUMN amop.optimization_device.sms_is_read IS
'False: the carrier''s count of messages is not known, so that 0 does not mean "no messages".';
COMMENT ON COLUMN amop.optimization_device.kept_reason IS
'Why the SIM keeps its present plan: its comm group is not placed, it was retired within the period, or its messages
were not read and every plan that it may have has a price for them. Null: it is placed.';
COMMENT ON COLUMN amop.optimization_device.is_billed IS
'True: the SIM is in every total and in its pool. False: it is kept, and its present plan is unknown or has no valid
price.';

CREATE TABLE amop.optimization_base_assignment (
    instance_id bigint NOT NULL,
    device_id bigint NOT NULL,
    rate_plan_id bigint NOT NULL
);
CREATE INDEX optimization_base_assignment_instance ON amop.optimization_base_assignment
USING brin (instance_id) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON TABLE amop.optimization_base_assignment IS
'Each SIM''s cheapest plan on its own. Rows of an instance are written and replaced together, so no key is checked and
the index is a BRIN: a B-tree took as long to write as the rows.';

CREATE TABLE amop.optimization_solved_assignment (
    instance_id bigint NOT NULL,
    device_id bigint NOT NULL,
    rate_plan_id bigint NOT NULL
);
CREATE INDEX optimization_solved_assignment_instance ON amop.optimization_solved_assignment
USING brin (instance_id) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON TABLE amop.optimization_solved_assignment IS
'Each SIM''s plan in the solution; stored like optimization_base_assignment.';

CREATE TABLE amop.optimization_device_result (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL,
    from_rate_plan text,
    to_rate_plan text NOT NULL,
    usage_mb numeric(24, 6) NOT NULL,
    projected_usage_mb numeric(24, 6) NOT NULL,
    from_cost numeric(24, 6) NOT NULL,
    to_cost numeric(24, 6) NOT NULL,
    reason text,
    PRIMARY KEY (instance_id, device_id)
);
COMMENT ON TABLE amop.optimization_device_result IS
'Result of each SIM. from_cost and to_cost add up exactly to current_cost and total_cost of the instance.';
COMMENT ON COLUMN amop.optimization_device_result.from_cost IS
'Money for the period: the SIM''s charges and its share of its pool''s overage, under the present plans.';
COMMENT ON COLUMN amop.optimization_device_result.to_cost IS 'The same under the solved plans.';
COMMENT ON COLUMN amop.optimization_device_result.reason IS 'Why the SIM is on to_rate_plan.';

CREATE TABLE amop.optimization_device_excluded (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL,
    reason text NOT NULL CHECK (
        reason IN (
            'no_communication_plan', 'communication_plan_not_mapped', 'only_retired_rate_plans', 'limit_exceeded',
            'usage_too_large', 'changed_meanwhile', 'inactive', 'vanished', 'retired', 'sms_not_read'
        )
    ),
    PRIMARY KEY (instance_id, device_id)
);
COMMENT ON TABLE amop.optimization_device_excluded IS
'SIMs of the carrier''s list that an instance excluded, and why: placed and excluded SIMs are the whole list.';

CREATE TABLE amop.optimization_rate_plan_result (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    assignment text NOT NULL CHECK (assignment IN ('current', 'solved')),
    rate_plan_code text NOT NULL,
    pool_name text,
    rate_charge numeric(18, 6) NOT NULL,
    base_rate numeric(18, 6) NOT NULL,
    plan_mb numeric(18, 6) NOT NULL,
    overage_rate numeric(18, 6) NOT NULL,
    data_per_overage_charge numeric(18, 6) NOT NULL,
    sms_rate numeric(18, 6) NOT NULL,
    device_count integer NOT NULL,
    usage_mb numeric(24, 6) NOT NULL,
    included_mb numeric(24, 6) NOT NULL,
    overage_mb numeric(24, 6),
    overage_blocks numeric(24),
    charges numeric(24, 6) NOT NULL,
    overage_cost numeric(24, 6) NOT NULL,
    sms_cost numeric(24, 6) NOT NULL,
    total_cost numeric(24, 6) NOT NULL CHECK (total_cost = charges + overage_cost + sms_cost),
    PRIMARY KEY (instance_id, assignment, rate_plan_code)
);
COMMENT ON TABLE amop.optimization_rate_plan_result IS
'Bill items by rate plan, of the present and of the solved plans; prices as they were.';
COMMENT ON COLUMN amop.optimization_rate_plan_result.included_mb IS 'Sum of the SIMs'' allowances.';
COMMENT ON COLUMN amop.optimization_rate_plan_result.overage_mb IS
'MB above the SIMs'' allowances; null for a pooled plan.';
COMMENT ON COLUMN amop.optimization_rate_plan_result.overage_cost IS
'Of a pooled plan: its SIMs'' shares of their pool''s overage; MB and blocks above the allowance are then the pool''s.';

CREATE TABLE amop.optimization_pool_result (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    assignment text NOT NULL CHECK (assignment IN ('current', 'solved')),
    pool_number integer NOT NULL,
    pool_name text NOT NULL,
    comm_group_key text,
    overage_rate numeric(18, 6) NOT NULL,
    data_per_overage_charge numeric(18, 6) NOT NULL,
    device_count integer NOT NULL,
    usage_mb numeric(24, 6) NOT NULL,
    included_mb numeric(24, 6) NOT NULL,
    overage_mb numeric(24, 6) NOT NULL,
    overage_blocks numeric(24) NOT NULL,
    overage_cost numeric(24, 6) NOT NULL,
    PRIMARY KEY (instance_id, assignment, pool_number)
);
COMMENT ON TABLE amop.optimization_pool_result IS 'Overage by pool, of the present and of the solved plans.';
COMMENT ON COLUMN amop.optimization_pool_result.pool_number IS
'Position of the pool in the certificate''s lists of pools and prices, from 0.';
COMMENT ON COLUMN amop.optimization_pool_result.comm_group_key IS
'The comm group whose pool this is where pools are confined to comm groups; null for a pool of the provider.';

CREATE TABLE amop.rate_plan_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES amop.device,
    from_rate_plan text,
    to_rate_plan text NOT NULL,
    state text NOT NULL DEFAULT 'proposed'
    CHECK (state IN ('proposed', 'approved', 'rejected', 'applied', 'conflict', 'failed')),
    error text,
    applied_at timestamptz,
    decided_by text,
    decided_at timestamptz,
    sent_at timestamptz,
    verified_at timestamptz,
    verified_rate_plan text,
    UNIQUE (instance_id, device_id)
);
CREATE INDEX rate_plan_change_open ON amop.rate_plan_change (instance_id) WHERE state IN ('proposed', 'approved');
COMMENT ON TABLE amop.rate_plan_change IS 'Plan changes that an instance proposed, with their decision and outcome.';
COMMENT ON COLUMN amop.rate_plan_change.sent_at IS
'When the PUT was sent. The outcome of an approved change with it is unknown: a GET settles it before anything else.';
COMMENT ON COLUMN amop.rate_plan_change.verified_rate_plan IS 'The SIM''s plan at the carrier at verified_at.';

CREATE TABLE amop.realised_saving (
    instance_id bigint PRIMARY KEY REFERENCES amop.optimization_instance ON DELETE CASCADE,
    usage_read_at timestamptz,
    applied_changes integer NOT NULL,
    forecast_saving numeric(24, 6) NOT NULL,
    old_plans_cost numeric(24, 6) NOT NULL,
    applied_plans_cost numeric(24, 6) NOT NULL,
    realised_saving numeric(24, 6) NOT NULL,
    projected_usage_mb numeric(24, 6) NOT NULL,
    real_usage_mb numeric(24, 6) NOT NULL,
    absolute_error_mb numeric(24, 6) NOT NULL,
    projection_error numeric,
    weighted_error numeric,
    measured_at timestamptz NOT NULL,
    CHECK (realised_saving = old_plans_cost - applied_plans_cost)
);
COMMENT ON TABLE amop.realised_saving IS
'One row for each completed instance of a closed billing period: the bill of all SIMs of the instance with the real
usage, under the old plans and with the changes that were applied within the period.';
COMMENT ON COLUMN amop.realised_saving.usage_read_at IS
'When the real usage was last read within the period; usage between then and the period''s end is not in it.';
COMMENT ON COLUMN amop.realised_saving.forecast_saving IS
'Forecast saving of the applied changes alone; optimization_instance.savings is the forecast of all proposals.';
COMMENT ON COLUMN amop.realised_saving.absolute_error_mb IS 'Sum over the SIMs of |projected - real| usage.';
COMMENT ON COLUMN amop.realised_saving.projection_error IS
'Of all SIMs together: (projected - real) / real usage; null where there was no usage.';
COMMENT ON COLUMN amop.realised_saving.weighted_error IS
'Weighted absolute percentage error of the SIMs: sum of |projected - real| / sum of real usage; null where there was no
usage. Unlike a mean of percentages it is defined for SIMs without usage, and weighs a megabyte as the bill does.';

CREATE FUNCTION amop.newer_instance(older_instance_id bigint)
RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT newer.id
    FROM amop.optimization_instance AS older
    INNER JOIN amop.optimization_session AS older_session ON older.session_id = older_session.id
    INNER JOIN amop.billing_period AS older_period ON older_session.billing_period_id = older_period.id
    INNER JOIN amop.optimization_session AS newer_session
        ON older_session.service_provider_id = newer_session.service_provider_id
    INNER JOIN amop.billing_period AS newer_period ON newer_session.billing_period_id = newer_period.id
    INNER JOIN amop.optimization_instance AS newer ON newer_session.id = newer.session_id
    WHERE
        older.id = older_instance_id
        AND newer.id > older.id
        AND newer.run_status = 'complete_with_success'
        AND newer_period.cycle_end >= older_period.cycle_end
    ORDER BY newer.id DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION amop.newer_instance IS
'The newest completed instance of the same provider for the same billing period or a later one: it makes the older one
stale.';
