-- A plan change whose PUT had an unclear answer is in doubt until a GET settles it.
ALTER TABLE amop.rate_plan_change
ADD COLUMN doubt_since timestamptz,
ADD COLUMN doubt text,
ADD COLUMN doubt_count integer NOT NULL DEFAULT 0,
ADD COLUMN is_denied boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN amop.rate_plan_change.doubt_since IS
'When the outcome of the PUT became unknown; the GET that settles it waits from here for the longest possible call.';
COMMENT ON COLUMN amop.rate_plan_change.doubt IS 'The answer that left the outcome of the latest PUT open.';
COMMENT ON COLUMN amop.rate_plan_change.doubt_count IS
'Number of PUTs of this change whose answer left the outcome open.';
COMMENT ON COLUMN amop.rate_plan_change.is_denied IS
'True where that answer was a success status with an error body: without a change at the carrier it is a refusal.';
