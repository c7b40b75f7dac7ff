#!/usr/bin/env bash
# Grant the roles of the warehouse what docs/security.md says, as the owner of its schema. It may be repeated.
set -euo pipefail
PGPASSWORD=$(cat "${SECRETS_DIRECTORY:-/run/secrets}/amop_owner_password")
export PGPASSWORD
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username amop_owner --dbname warehouse \
    --file "${DEPLOY_DIRECTORY:-/deploy}/grants.sql"
