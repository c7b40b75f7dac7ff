-- Purpose: what the report of an instance is made of: the SIMs that were left out and why, the bill of the present and
--   of the solved plans item by item, the reason of each SIM's plan, where the workbook is and whether it was mailed.
--   As in migration 0006, tables of one row per SIM have no key to amop.device, of which no row is ever deleted.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on optimization_instance and optimization_device_result for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_instance
ADD COLUMN report_uri text,
ADD COLUMN report_mailed_at timestamptz;

ALTER TABLE amop.optimization_device_result ADD COLUMN reason text;

CREATE TABLE amop.optimization_device_left_out (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL,
    reason text NOT NULL CHECK (
        reason IN (
            'no_communication_plan', 'communication_plan_not_mapped', 'only_retired_rate_plans', 'limit_exceeded',
            'changed_meanwhile', 'inactive', 'vanished'
        )
    ),
    PRIMARY KEY (instance_id, device_id)
);
COMMENT ON TABLE amop.optimization_device_left_out IS
'SIMs of the carrier''s list that an instance did not place, and why: placed and left out are the whole list.';

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
COMMENT ON COLUMN amop.optimization_pool_result.pool_number IS
'Position of the pool in the certificate''s lists of pools and prices, from 0.';
COMMENT ON COLUMN amop.optimization_pool_result.comm_group_key IS
'The comm group whose pool this is where pools are confined to comm groups; null for a pool of the provider.';
