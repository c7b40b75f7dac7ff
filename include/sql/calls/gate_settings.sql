-- Purpose: settings of the session of a call gate: no wait for the disk at each call (a server that crashes takes longer
--   to come back than the window that is lost), and the lock of a machine that has vanished is free within a minute.
-- Parameters: none.
-- Locks: none.
-- Repeatable: the same settings again.
SELECT
    set_config('synchronous_commit', 'off', false),
    set_config('tcp_keepalives_idle', '30', false),
    set_config('tcp_keepalives_interval', '10', false),
    set_config('tcp_keepalives_count', '3', false)
