#!/bin/sh
# Run once by PostgreSQL's image, as it makes the volume: the service's role, which is no superuser, and its database.
# The superuser is left without a password, so that it can be reached from within the container alone.
set -eu
psql --no-psqlrc --username postgres --dbname postgres -v ON_ERROR_STOP=1 -v password="$POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE carbonapi LOGIN PASSWORD :'password';
CREATE DATABASE carbonapi OWNER carbonapi;
ALTER ROLE postgres PASSWORD NULL;
SQL
