-- Purpose: reference data: tenants, integrations, service providers, billing periods, rate plans, communication plans.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.tenant (
    id bigint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    time_zone text NOT NULL
);
COMMENT ON TABLE amop.tenant IS 'Customers of AMOP, as the reference file lists them.';
COMMENT ON COLUMN amop.tenant.time_zone IS 'IANA name, such as America/New_York.';

CREATE TABLE amop.integration (
    id smallint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    display_name text NOT NULL,
    family text NOT NULL,
    portal_type_id smallint NOT NULL,
    daily_sync_key text NOT NULL,
    supports_optimization boolean NOT NULL
);
COMMENT ON TABLE amop.integration IS 'Carrier integrations of the package, the same as amop.config.INTEGRATIONS.';
COMMENT ON COLUMN amop.integration.name IS 'Key in DAG ids and in the reference file.';
COMMENT ON COLUMN amop.integration.family IS 'Family of carrier APIs: which client is used.';
COMMENT ON COLUMN amop.integration.portal_type_id IS 'Number of the portal in AMOP.';
COMMENT ON COLUMN amop.integration.daily_sync_key IS 'key_name of the daily sync notification to AMOP.';

CREATE TABLE amop.service_provider (
    id bigint PRIMARY KEY,
    tenant_id bigint NOT NULL REFERENCES amop.tenant,
    integration_id smallint NOT NULL REFERENCES amop.integration,
    name text NOT NULL,
    connection_id text NOT NULL,
    time_zone text NOT NULL,
    bill_period_end_day smallint NOT NULL DEFAULT 18 CHECK (bill_period_end_day BETWEEN 1 AND 31),
    bill_period_end_hour smallint NOT NULL DEFAULT 18 CHECK (bill_period_end_hour BETWEEN 0 AND 23),
    optimization_start_hour_local smallint NOT NULL DEFAULT 0 CHECK (optimization_start_hour_local BETWEEN 0 AND 23),
    uses_proration boolean NOT NULL DEFAULT true,
    prorates_allowance boolean NOT NULL DEFAULT false,
    pool_scope text NOT NULL DEFAULT 'service_provider' CHECK (pool_scope IN ('service_provider', 'comm_group')),
    rate_plan_limit integer CHECK (rate_plan_limit > 0),
    write_is_enabled boolean NOT NULL DEFAULT false,
    can_auto_update_rate_plans boolean NOT NULL DEFAULT false,
    detail_calls_per_run integer NOT NULL DEFAULT 500 CHECK (detail_calls_per_run >= 0),
    maximum_bad_share numeric NOT NULL DEFAULT 0.01 CHECK (maximum_bad_share BETWEEN 0 AND 1),
    maximum_vanished_share numeric NOT NULL DEFAULT 0.10 CHECK (maximum_vanished_share BETWEEN 0 AND 1),
    is_active boolean NOT NULL DEFAULT true,
    minimum_saving_per_change numeric(18, 6) NOT NULL DEFAULT 0 CHECK (minimum_saving_per_change >= 0),
    maximum_changes integer CHECK (maximum_changes >= 0),
    approval_above_changes integer DEFAULT 500 CHECK (approval_above_changes >= 0),
    approval_above_amount numeric(18, 6) CHECK (approval_above_amount >= 0),
    projection_method text NOT NULL DEFAULT 'daily_history'
    CHECK (projection_method IN ('daily_history', 'elapsed_time')),
    UNIQUE (tenant_id, integration_id, name)
);
COMMENT ON TABLE amop.service_provider IS
'Carrier accounts of a tenant with their settings, as the reference file lists them.';
COMMENT ON COLUMN amop.service_provider.connection_id IS 'Airflow connection of the carrier''s API.';
COMMENT ON COLUMN amop.service_provider.time_zone IS
'IANA name. Billing periods, usage dates and local hours of the provider are in this zone.';
COMMENT ON COLUMN amop.service_provider.bill_period_end_day IS
'Day of the month on which a billing period ends; the last day of a shorter month.';
COMMENT ON COLUMN amop.service_provider.bill_period_end_hour IS
'Local hour of bill_period_end_day at which a billing period ends.';
COMMENT ON COLUMN amop.service_provider.optimization_start_hour_local IS
'Local hour from which an optimization session may start on a day.';
COMMENT ON COLUMN amop.service_provider.uses_proration IS
'True: a SIM activated within the period pays its rate charge for its days only.';
COMMENT ON COLUMN amop.service_provider.prorates_allowance IS
'True: a prorated SIM also brings only that share of its plan''s data allowance.';
COMMENT ON COLUMN amop.service_provider.pool_scope IS 'Whether a pool spans the whole provider or one comm group.';
COMMENT ON COLUMN amop.service_provider.rate_plan_limit IS
'Most rate plans of a comm group that is optimized; null = no limit.';
COMMENT ON COLUMN amop.service_provider.write_is_enabled IS 'False: no plan change is ever sent to the carrier.';
COMMENT ON COLUMN amop.service_provider.can_auto_update_rate_plans IS
'True, with write_is_enabled: plan changes are applied, not only proposed.';
COMMENT ON COLUMN amop.service_provider.detail_calls_per_run IS 'Most calls for SIM details in one sync run.';
COMMENT ON COLUMN amop.service_provider.maximum_bad_share IS
'Largest share of quarantined records (0 to 1) with which a sync run is merged.';
COMMENT ON COLUMN amop.service_provider.maximum_vanished_share IS
'Largest share of active SIMs (0 to 1) that one full list may deactivate.';
COMMENT ON COLUMN amop.service_provider.minimum_saving_per_change IS
'Money: a plan change must save more than this in the billing period.';
COMMENT ON COLUMN amop.service_provider.maximum_changes IS 'Most plan changes of one optimization; null = no limit.';
COMMENT ON COLUMN amop.service_provider.approval_above_changes IS
'More plan changes than this need an approval; null = no limit.';
COMMENT ON COLUMN amop.service_provider.approval_above_amount IS
'Plan changes that together move more money than this need an approval; null = no limit.';

CREATE TABLE amop.billing_period (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    bill_year smallint NOT NULL,
    bill_month smallint NOT NULL CHECK (bill_month BETWEEN 1 AND 12),
    cycle_start timestamptz NOT NULL,
    cycle_end timestamptz NOT NULL,
    usage_removed_at timestamptz,
    UNIQUE (service_provider_id, bill_year, bill_month),
    CHECK (cycle_start < cycle_end)
);
COMMENT ON TABLE amop.billing_period IS 'Billing periods of a provider: cycle_start included, cycle_end excluded.';
COMMENT ON COLUMN amop.billing_period.bill_month IS 'Month in which the period ends.';
COMMENT ON COLUMN amop.billing_period.usage_removed_at IS
'When retention deleted the daily usage of the period; null = it is there.';

CREATE TABLE amop.carrier_rate_plan (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    rate_plan_code text NOT NULL,
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    rate_charge numeric(18, 6) NOT NULL CHECK (rate_charge >= 0),
    base_rate numeric(18, 6) NOT NULL DEFAULT 0 CHECK (base_rate >= 0),
    plan_mb numeric(18, 6) NOT NULL CHECK (plan_mb >= 0),
    overage_rate numeric(18, 6) NOT NULL,
    data_per_overage_charge numeric(18, 6) NOT NULL,
    sms_rate numeric(18, 6) NOT NULL DEFAULT 0 CHECK (sms_rate >= 0),
    allows_sim_pooling boolean NOT NULL DEFAULT false,
    pool text,
    is_shared boolean NOT NULL DEFAULT false,
    is_retired boolean NOT NULL DEFAULT false,
    UNIQUE (service_provider_id, rate_plan_code)
);
COMMENT ON TABLE amop.carrier_rate_plan IS
'Rate plans of a provider. Prices are money in a billing period; one MB is 1,048,576 bytes.';
COMMENT ON COLUMN amop.carrier_rate_plan.version IS 'Current version at the carrier; earlier ones have usage as well.';
COMMENT ON COLUMN amop.carrier_rate_plan.rate_charge IS
'Money for a SIM in a billing period; prorated where the provider prorates.';
COMMENT ON COLUMN amop.carrier_rate_plan.base_rate IS 'Money for a SIM in a billing period; never prorated.';
COMMENT ON COLUMN amop.carrier_rate_plan.plan_mb IS 'Data allowance of a SIM in MB.';
COMMENT ON COLUMN amop.carrier_rate_plan.overage_rate IS
'Money for one overage block.';
COMMENT ON COLUMN amop.carrier_rate_plan.data_per_overage_charge IS 'MB of one overage block.';
COMMENT ON COLUMN amop.carrier_rate_plan.sms_rate IS 'Money for an SMS.';
COMMENT ON COLUMN amop.carrier_rate_plan.pool IS
'Plans with the same name share one pool; null = a plan that allows pooling has a pool of its own.';
COMMENT ON COLUMN amop.carrier_rate_plan.is_shared IS
'True: a shared plan of the carrier. Its usage is read SIM by SIM, since the carrier refuses it in bulk.';
COMMENT ON COLUMN amop.carrier_rate_plan.is_retired IS 'True: no SIM is moved to this plan.';

CREATE TABLE amop.communication_plan (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    name text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (service_provider_id, name)
);
COMMENT ON TABLE amop.communication_plan IS
'Communication plans of a provider: of the reference file, and those first seen in a device list.';

CREATE TABLE amop.communication_plan_rate_plan (
    communication_plan_id bigint NOT NULL REFERENCES amop.communication_plan ON DELETE CASCADE,
    carrier_rate_plan_id bigint NOT NULL REFERENCES amop.carrier_rate_plan ON DELETE CASCADE,
    PRIMARY KEY (communication_plan_id, carrier_rate_plan_id)
);
COMMENT ON TABLE amop.communication_plan_rate_plan IS
'Eligibility: the rate plans that SIMs of a communication plan may be on.';

INSERT INTO amop.integration (id, name, display_name, family, portal_type_id, daily_sync_key, supports_optimization)
VALUES
(1, 'jasper', 'AT&T Control Center (Jasper)', 'control_center', 0, 'jasper_devices', true),
(2, 'pod19', 'AT&T Control Center POD19', 'control_center', 0, 'jasper_devices', true),
(3, 'tmobile_jasper', 'T-Mobile Control Center', 'control_center', 0, 'jasper_devices', true),
(4, 'rogers', 'Rogers Control Center', 'control_center', 0, 'jasper_devices', true);
