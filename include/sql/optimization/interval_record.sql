-- Purpose: count the closed billing periods of a provider whose real bill was compared with the interval stated for it,
--   and those whose bill it held. The last measured optimization of a period counts.
-- Parameters: service_provider_id, ends_after (timestamptz).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    count(*)::integer AS periods,
    count(*) FILTER (WHERE last_of_period.is_within_interval)::integer AS held
FROM (
    SELECT DISTINCT ON (period.id) measured.is_within_interval
    FROM amop.realised_saving AS measured
    INNER JOIN amop.optimization_instance AS instance ON measured.instance_id = instance.id
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
    WHERE
        session.service_provider_id = %(service_provider_id)s
        AND period.cycle_end > %(ends_after)s
        AND measured.is_within_interval IS NOT NULL
    ORDER BY period.id ASC, instance.id DESC
) AS last_of_period
