-- Purpose: find the counters of single SIMs that the merge has taken although they look wrong: data usage that no radio
--   could carry since the cycle began, and counters that fell within a cycle. One row for each kind and usage type that
--   occurs.
-- Parameters: most_bytes (that a radio can carry), least_share (of a counter; a fall by less is a correction of the
--   carrier's), least_bytes and least_units (falls by less, of data and of messages or seconds, are none). Needs
--   collected_usage.
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH found AS (
    SELECT
        sim.device_id,
        counter.usage_type,
        counter.usage_before,
        counter.usage,
        kind.name AS kind
    FROM collected_usage AS sim
    CROSS JOIN LATERAL (
        VALUES
        ('DATA', sim.old_data_usage, sim.data_usage, %(least_bytes)s::bigint),
        ('SMS', sim.old_sms_usage, sim.sms_usage, %(least_units)s::bigint),
        ('VOICE', sim.old_voice_usage, sim.voice_usage, %(least_units)s::bigint)
    ) AS counter (usage_type, usage_before, usage, least_fall)
    CROSS JOIN LATERAL (
        VALUES
        ('impossible', counter.usage_type = 'DATA' AND counter.usage > %(most_bytes)s::bigint),
        (
            'fallen',
            sim.is_same_cycle
            AND counter.usage_before - counter.usage
            > greatest(counter.least_fall, counter.usage_before * %(least_share)s::numeric)
        )
    ) AS kind (name, is_found)
    WHERE sim.is_read AND kind.is_found
)

SELECT
    found.kind,
    found.usage_type,
    count(*) AS sims,
    (
        array_agg(
            CASE found.kind
                WHEN 'fallen' THEN device.iccid || ' from ' || found.usage_before || ' to ' || found.usage
                ELSE device.iccid || ' with ' || found.usage
            END
            ORDER BY abs(found.usage_before - found.usage) DESC, device.iccid ASC
        )
    )[1:5] AS samples
FROM found
INNER JOIN amop.device AS device ON found.device_id = device.id
GROUP BY found.kind, found.usage_type
ORDER BY found.kind DESC, found.usage_type ASC
