CREATE ROLE amop_owner LOGIN;
CREATE ROLE amop_runtime LOGIN;
CREATE ROLE amop_reader LOGIN;
ALTER ROLE amop_reader SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE warehouse TO amop_owner, amop_runtime, amop_reader;
GRANT TEMPORARY ON DATABASE warehouse TO amop_runtime;
CREATE SCHEMA amop AUTHORIZATION amop_owner;
