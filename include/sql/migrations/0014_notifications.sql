-- Purpose: notifications of operators, and the name of a carrier account whose calls fail.
-- Parameters: none.
-- Locks: carrier_api_user, exclusively and briefly; otherwise creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.carrier_api_user ADD COLUMN account text;
COMMENT ON COLUMN amop.carrier_api_user.account IS
'Provider and connection as which the latest failure was met; api_user is a hash.';

CREATE TABLE amop.notification (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    dedupe_key text NOT NULL UNIQUE,
    cause_key text NOT NULL,
    provider text NOT NULL,
    cause text NOT NULL,
    first_step text NOT NULL,
    address text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed', 'off')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL,
    sent_at timestamptz
);
CREATE INDEX notification_pending ON amop.notification (id) WHERE state = 'pending';
COMMENT ON TABLE amop.notification IS
'What operators are notified of, one row per provider and event. Pending rows of one cause are sent as one message.';
COMMENT ON COLUMN amop.notification.kind IS 'Name by which this kind of notification is switched off.';
COMMENT ON COLUMN amop.notification.dedupe_key IS 'The event; a second row of it is never written.';
COMMENT ON COLUMN amop.notification.cause_key IS 'Kind and cause without the provider''s name and without numbers.';
COMMENT ON COLUMN amop.notification.address IS 'Page of Airflow, relative to its root.';
COMMENT ON COLUMN amop.notification.state IS
'failed = could not be sent for a day; off = its kind was switched off, or nothing was set up to send it.';
