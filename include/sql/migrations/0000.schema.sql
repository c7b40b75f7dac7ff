-- Purpose: the schema that holds everything of the package.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: IF NOT EXISTS, and the migration ledger applies it once.
CREATE SCHEMA IF NOT EXISTS amop;
