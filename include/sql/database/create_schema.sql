-- Purpose: create the schema of the package.
-- Parameters: none.
-- Locks: creates a new object only.
-- Repeatable: no; read migration_rights first. IF NOT EXISTS would need CREATE on the database even where it exists.
CREATE SCHEMA amop
