-- Purpose: return the time zones that this database server does not know by an IANA name.
-- Parameters: names (text array).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT given.name
FROM unnest(%(names)s::text[]) AS given (name)
WHERE NOT EXISTS (SELECT FROM pg_timezone_names AS known WHERE known.name = given.name)
ORDER BY given.name
