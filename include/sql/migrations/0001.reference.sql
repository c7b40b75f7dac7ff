-- Purpose: tenants, integrations, service providers, billing periods, rate plans, communication plans (reference data).
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.tenant (
    id bigint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    time_zone text NOT NULL
);

CREATE TABLE amop.integration (
    id smallint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    display_name text NOT NULL,
    family text NOT NULL,
    portal_type_id smallint NOT NULL,
    daily_sync_key text NOT NULL,
    supports_optimization boolean NOT NULL
);

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
    UNIQUE (tenant_id, integration_id, name)
);

CREATE TABLE amop.billing_period (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    bill_year smallint NOT NULL,
    bill_month smallint NOT NULL CHECK (bill_month BETWEEN 1 AND 12),
    cycle_start timestamptz NOT NULL,
    cycle_end timestamptz NOT NULL,
    UNIQUE (service_provider_id, bill_year, bill_month),
    CHECK (cycle_start < cycle_end)
);

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

CREATE TABLE amop.communication_plan (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    name text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (service_provider_id, name)
);

CREATE TABLE amop.communication_plan_rate_plan (
    communication_plan_id bigint NOT NULL REFERENCES amop.communication_plan ON DELETE CASCADE,
    carrier_rate_plan_id bigint NOT NULL REFERENCES amop.carrier_rate_plan ON DELETE CASCADE,
    PRIMARY KEY (communication_plan_id, carrier_rate_plan_id)
);

INSERT INTO amop.integration (id, name, display_name, family, portal_type_id, daily_sync_key, supports_optimization)
VALUES
(1, 'jasper', 'AT&T Control Center (Jasper)', 'control_center', 0, 'jasper_devices', true),
(2, 'pod19', 'AT&T Control Center POD19', 'control_center', 0, 'jasper_devices', true),
(3, 'tmobile_jasper', 'T-Mobile Control Center', 'control_center', 0, 'jasper_devices', true),
(4, 'rogers', 'Rogers Control Center', 'control_center', 0, 'jasper_devices', true);
