-- Purpose: what the current role may do in the database and in schema amop, and what is there already.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only. It reads the catalog alone, which needs no right on the schema.
SELECT
    current_user::text AS role_name,
    current_database()::text AS database_name,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
    schema.oid IS NOT NULL AS has_schema,
    coalesce(has_schema_privilege(schema.oid, 'USAGE') AND has_schema_privilege(schema.oid, 'CREATE'), false)
        AS may_create_tables,
    (
        SELECT min(pg_get_userbyid(existing.relowner)::text)
        FROM pg_class AS existing
        WHERE
            existing.relnamespace = schema.oid AND existing.relkind IN ('r', 'v')
            AND NOT pg_has_role(existing.relowner, 'USAGE')
    ) AS other_owner,
    (
        SELECT count(*) > 0 FROM pg_class AS existing
        WHERE existing.relnamespace = schema.oid AND existing.relname = '_yoyo_migration'
    ) AS is_of_version_0_1
FROM (SELECT to_regnamespace('amop')::oid AS oid) AS schema
