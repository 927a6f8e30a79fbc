#!/bin/sh
# The image of PostgreSQL runs this once, when it creates the volume. It creates the database, the role that owns and
# migrates it, and the role of the service, which owns nothing. Neither is a superuser, so row-level security applies to
# them, and they cannot change the audit log. Both can take on the role that sees the rows of all organizations. The superuser has no password, so it can only connect from the container.
set -eu
psql --no-psqlrc --username postgres --dbname postgres -v ON_ERROR_STOP=1 \
    -v owner_password="$POSTGRES_PASSWORD" -v password="$CARBONAPI_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE carbonapi LOGIN PASSWORD :'owner_password';
CREATE ROLE carbonapi_app LOGIN PASSWORD :'password';
CREATE ROLE carbonapi_all_organizations NOLOGIN;
GRANT carbonapi_all_organizations TO carbonapi, carbonapi_app WITH INHERIT FALSE, SET TRUE;
CREATE DATABASE carbonapi OWNER carbonapi;
ALTER ROLE postgres PASSWORD NULL;
SQL
