-- Purpose: store the solved cost with its proof: lower bound, gap and certificate; and the expected bill, if the plans
--   were chosen by scenarios of the usage.
-- Parameters: instance_id, total_cost, lower_bound, gap, certificate (jsonb), expected_bill (jsonb or null).
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET
    total_cost = %(total_cost)s,
    lower_bound = %(lower_bound)s,
    gap = %(gap)s,
    certificate = %(certificate)s,
    expected_cost = (%(expected_bill)s::jsonb ->> 'expected_cost')::numeric,
    expected_lower_bound = (%(expected_bill)s::jsonb ->> 'expected_lower_bound')::numeric,
    expected_current_cost = (%(expected_bill)s::jsonb ->> 'expected_current_cost')::numeric,
    cost_5_percent = (%(expected_bill)s::jsonb ->> 'cost_5_percent')::numeric,
    cost_50_percent = (%(expected_bill)s::jsonb ->> 'cost_50_percent')::numeric,
    cost_95_percent = (%(expected_bill)s::jsonb ->> 'cost_95_percent')::numeric,
    worst_tenth_cost = (%(expected_bill)s::jsonb ->> 'worst_tenth_cost')::numeric,
    expected_bill = %(expected_bill)s::jsonb
WHERE id = %(instance_id)s
