#!/bin/sh
# Run once by PostgreSQL's image, as it makes the volume: the database, the role that owns it and migrates it, and the
# service's own, which owns nothing. Neither is a superuser, so row-level security and the audit log bind them.
# The superuser is left without a password, so that it can be reached from within the container alone.
set -eu
psql --no-psqlrc --username postgres --dbname postgres -v ON_ERROR_STOP=1 \
    -v owner_password="$POSTGRES_PASSWORD" -v password="$CARBONAPI_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE carbonapi LOGIN PASSWORD :'owner_password';
CREATE ROLE carbonapi_app LOGIN PASSWORD :'password';
CREATE DATABASE carbonapi OWNER carbonapi;
ALTER ROLE carbonapi_app SET statement_timeout = '30s';
ALTER ROLE carbonapi_app SET lock_timeout = '2s';
ALTER ROLE carbonapi_app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE postgres PASSWORD NULL;
SQL
