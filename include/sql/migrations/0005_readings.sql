-- Purpose: what the readings of usage need: daily usage that always adds up to the counter, which counters were read,
--   single reads within a budget, rate plans without bulk usage.
-- Parameters: none.
-- Locks: the altered tables, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN usage_calls_per_run integer NOT NULL DEFAULT 500 CHECK (usage_calls_per_run >= 0);
COMMENT ON COLUMN amop.service_provider.usage_calls_per_run IS
'Most single usage reads in one sync run for SIMs whose bulk usage is in doubt, missing or refused by the carrier. SIMs
without a rate plan and on plans declared as shared are read on top of them.';

ALTER TABLE amop.device
ADD COLUMN sms_is_read boolean NOT NULL DEFAULT false,
ADD COLUMN voice_is_read boolean NOT NULL DEFAULT false,
ADD COLUMN usage_is_unconfirmed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN amop.device.sms_is_read IS
'True: the latest sync of the SIM''s usage read ctd_sms_usage. False: it did not, so 0 does not mean "no messages".';
COMMENT ON COLUMN amop.device.voice_is_read IS
'True: the latest sync of the SIM''s usage read ctd_voice_usage. False: it did not, so 0 does not mean "no calls".';
COMMENT ON COLUMN amop.device.usage_is_unconfirmed IS
'True: the latest sync could not read the SIM''s usage, or the carrier''s bulk answer lowered it without proof: the
counters are those of an earlier sync; or the plan changed within the period and the SIM was not read singly.';

ALTER TABLE amop.device_sync_run ADD COLUMN usage_unconfirmed integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.device_sync_run.usage_unconfirmed IS
'SIMs whose usage this run could not confirm; see device.usage_is_unconfirmed.';

ALTER TABLE amop.device_usage_to_process
ADD COLUMN reason text NOT NULL DEFAULT '' CHECK (reason IN ('', 'plan_changed', 'fallen', 'refused')),
ADD COLUMN attempts smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.device_usage_to_process.reason IS
'Why a single usage read counts towards usage_calls_per_run: the plan changed within the period, a counter fell, the
carrier refused the bulk read; empty: it does not.';
COMMENT ON COLUMN amop.device_usage_to_process.attempts IS
'How often the read failed although the carrier may be well; such a row goes to the end of the queue.';

ALTER TABLE amop.device_usage_processed
ADD COLUMN reason text NOT NULL DEFAULT '',
ADD COLUMN refusal text,
ADD COLUMN refusal_status integer;
COMMENT ON COLUMN amop.device_usage_processed.reason IS 'As in device_usage_to_process.';
COMMENT ON COLUMN amop.device_usage_processed.refusal IS
'The carrier''s words where it refused a bulk usage read for good; null: the read is complete.';
COMMENT ON COLUMN amop.device_usage_processed.refusal_status IS
'HTTP status of the refusal; null with a refusal: the carrier failed for this read only.';

CREATE TABLE amop.bulk_usage_refusal (
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    rate_plan_code text NOT NULL,
    refused_at timestamptz NOT NULL,
    device_count integer NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (service_provider_id, rate_plan_code)
);
COMMENT ON TABLE amop.bulk_usage_refusal IS
'Rate plans that are not declared as shared, but whose bulk usage the carrier refuses. Their SIMs are read singly; a
sync with a full list tries the bulk read again.';
COMMENT ON COLUMN amop.bulk_usage_refusal.device_count IS 'SIMs on the plan then: the calls that one sync needs.';

CREATE VIEW amop.counted_usage AS
SELECT
    plan.run_id,
    plan.iccid,
    plan.usage_type,
    bool_or(plan.is_single) AS is_single,
    bool_or(NOT plan.is_single) AS is_bulk,
    coalesce(sum(plan.usage) FILTER (WHERE NOT plan.is_single), 0) AS bulk_usage,
    CASE WHEN bool_or(plan.is_single) THEN max(plan.usage) ELSE sum(plan.usage) END AS usage
FROM (
    SELECT
        staged.run_id,
        staged.iccid,
        staged.usage_type,
        staged.rate_plan_code,
        staged.rate_plan_code = '' AS is_single,
        sum(staged.usage) AS usage
    FROM amop.device_usage_staging AS staged
    INNER JOIN amop.device_sync_run AS run ON staged.run_id = run.id
    INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
    WHERE staged.rate_plan_code <> '' OR staged.received_at < period.cycle_end
    GROUP BY staged.run_id, staged.iccid, staged.usage_type, staged.rate_plan_code
) AS plan
GROUP BY plan.run_id, plan.iccid, plan.usage_type;
COMMENT ON VIEW amop.counted_usage IS
'The counter of each SIM and usage type that a run read. Zones, versions and rate plans of a bulk read add up; a single
read replaces them. No SIM has used less than the carrier says for one plan, so that a single read never counts less
than the largest of them. A single read after the end of the cycle belongs to the next cycle and is ignored.';

-- A counter that went down within a cycle is a correction, or restarts: usage_of_days decides with all days at hand.
DROP FUNCTION amop.usage_since;

CREATE FUNCTION amop.usage_of_days(counters bigint[])
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT
AS $$
DECLARE
    day_count integer := coalesce(cardinality(counters), 0);
    shares bigint[] := '{}';
    first_day integer := 1;
    lowest bigint;
BEGIN
    IF day_count = 0 THEN
        RETURN shares;
    END IF;
    FOR day IN 2..day_count LOOP
        IF counters[day] < counters[day - 1] / 2 THEN
            first_day := day;
        END IF;
    END LOOP;
    shares := array_fill(0::bigint, ARRAY[day_count]);
    lowest := counters[day_count];
    FOR day IN REVERSE day_count..first_day LOOP
        lowest := least(lowest, counters[day]);
        shares[day] := lowest;
    END LOOP;
    FOR day IN REVERSE day_count..first_day + 1 LOOP
        shares[day] := shares[day] - shares[day - 1];
    END LOOP;
    RETURN shares;
END
$$;
COMMENT ON FUNCTION amop.usage_of_days IS
'Usage of each day of a cycle from the counter at the end of each day, in order. Never negative; the sum is the last
counter. A counter that fell to less than half has restarted: the days before have no usage. A counter that fell less
was corrected: the days before lose what was too much, the latest first.';
