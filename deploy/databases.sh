#!/usr/bin/env bash
# Create the databases and their roles; run once, by PostgreSQL's image, when its volume is new.
# The passwords come from files, and psql reads them itself: no command line shows them.
set -euo pipefail
secrets=${SECRETS_DIRECTORY:-/run/secrets}
deploy=${DEPLOY_DIRECTORY:-/deploy}

as_superuser() {
    psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username postgres "$@"
}

as_superuser --dbname postgres <<SQL
CREATE ROLE airflow LOGIN;
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE warehouse;
SQL
as_superuser --dbname warehouse --file "$deploy/roles.sql"
for role in airflow amop_owner amop_runtime amop_reader; do
    as_superuser --dbname postgres <<SQL
\set password \`cat "$secrets/${role}_password"\`
ALTER ROLE $role PASSWORD :'password';
SQL
done
