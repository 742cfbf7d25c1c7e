-- Each record once, in the encoding of `store::encoding`. Keys sort in the same order as in the
-- program. Do not change records by hand: `head` has a checksum over all of them.
CREATE TABLE records (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The number of the last commit, the number of records, and their checksum.
CREATE TABLE head (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    records INTEGER NOT NULL,
    sum BLOB NOT NULL CHECK (length(sum) = 32)
) STRICT, WITHOUT ROWID;
INSERT INTO head VALUES (1, 0, 0, zeroblob(32));

-- The members of collections, such as `credentials/CL…`, in the order of their keys.
CREATE TABLE members (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID;

-- The number of members of each collection that is not empty.
CREATE TABLE counts (
    collection TEXT NOT NULL PRIMARY KEY,
    members INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Unique names: `host/…` of domains and trunks, `user/CL…/…` within a list.
CREATE TABLE names (
    name TEXT NOT NULL PRIMARY KEY,
    key TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Views for operators, one for each kind of record. No view shows a hash.
CREATE VIEW accounts AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.status') AS status,
    json_extract(value, '$.friendly_name') AS friendly_name,
    json_extract(value, '$.token_sha256') IS NOT NULL AS has_token,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '1/' AND key < '2';

CREATE VIEW ip_access_control_lists AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.account') AS account,
    json_extract(value, '$.friendly_name') AS friendly_name,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '2/' AND key < '3';

CREATE VIEW credential_lists AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.account') AS account,
    json_extract(value, '$.realm') AS realm,
    json_extract(value, '$.friendly_name') AS friendly_name,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '3/' AND key < '4';

CREATE VIEW ip_addresses AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.list') AS list,
    json_extract(value, '$.prefix') AS prefix,
    json_extract(value, '$.friendly_name') AS friendly_name,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '4/' AND key < '5';

CREATE VIEW credentials AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.list') AS list,
    json_extract(value, '$.username') AS username,
    coalesce(json_extract(value, '$.disabled'), 0) AS disabled,
    json_extract(value, '$.role') AS role,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '5/' AND key < '6';

CREATE VIEW domains AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.account') AS account,
    json_extract(value, '$.name') AS name,
    json_extract(value, '$.friendly_name') AS friendly_name,
    coalesce(json_extract(value, '$.secure'), 0) AS secure,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '6/SD' AND key < '6/SE';

CREATE VIEW trunks AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.account') AS account,
    json_extract(value, '$.name') AS name,
    json_extract(value, '$.friendly_name') AS friendly_name,
    coalesce(json_extract(value, '$.secure'), 0) AS secure,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '6/TK' AND key < '6/TL';

CREATE VIEW policies AS SELECT
    substr(key, 3) AS target,
    json_extract(value, '$.algorithms') AS algorithms,
    json_extract(value, '$.qop') AS qop,
    json_extract(value, '$.nonce_lifetime') AS nonce_lifetime,
    json_remove(value, '$.v', '$.algorithms', '$.qop', '$.nonce_lifetime', '$.created',
        '$.updated') AS rest,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '7/' AND key < '8';

CREATE VIEW mappings AS SELECT
    CASE substr(key, 3, 1)
        WHEN '1' THEN 'addresses' WHEN '2' THEN 'credentials' WHEN '3' THEN 'registrations'
    END AS kind,
    substr(key, 5, 34) AS target,
    substr(key, 40) AS list,
    json_extract(value, '$.role') AS role,
    json_extract(value, '$.since') AS since,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '8/' AND key < '9';

CREATE VIEW roles AS SELECT
    substr(key, 3) AS sid,
    json_extract(value, '$.account') AS account,
    json_extract(value, '$.service') AS service,
    json_extract(value, '$.kind') AS kind,
    json_extract(value, '$.friendly_name') AS friendly_name,
    json_extract(value, '$.permissions') AS permissions,
    datetime(json_extract(value, '$.created'), 'unixepoch') AS created,
    datetime(json_extract(value, '$.updated'), 'unixepoch') AS updated
FROM records WHERE key >= '9/';
