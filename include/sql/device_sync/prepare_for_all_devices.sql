-- Purpose: prepare the transaction for joins over all SIMs of a provider: memory enough not to spill to disk (a million
--   SIMs take 200 MB), and joins by hash, because sorting texts by the rules of a language takes longer than the rest.
-- Parameters: none.
-- Locks: none; in force until this transaction ends.
-- Repeatable: yes.
SELECT
    set_config('work_mem', '256MB', true) AS work_memory,
    set_config('enable_mergejoin', 'off', true) AS merge_join
