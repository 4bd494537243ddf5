-- What the landing page remembers. There is no token in it, and no secret that opens anything:
-- of tokens and cookies only the SHA-256.

-- One token that one browser has brought.
CREATE TABLE IF NOT EXISTS setups (
    number INTEGER PRIMARY KEY,
    secret_sha256 TEXT NOT NULL UNIQUE,
    message_id TEXT NOT NULL,
    token_sha256 TEXT NOT NULL,
    support_code TEXT NOT NULL,
    at REAL NOT NULL,
    used_at REAL
);
CREATE INDEX IF NOT EXISTS setups_at ON setups (at);

-- What became of a submission, written by whoever hears of it first: the page or `settled`.
CREATE TABLE IF NOT EXISTS answers (
    message_id TEXT PRIMARY KEY,
    outcome TEXT NOT NULL CHECK (outcome IN ('resolved', 'rejected', 'failed')),
    repeated INTEGER NOT NULL,
    agreement_key TEXT,
    product_code TEXT,
    account TEXT,
    settled_at TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_at ON answers (at);

-- One row for each agreement, for good: it is what keeps the hook from running twice.
CREATE TABLE IF NOT EXISTS agreements (
    agreement_key TEXT PRIMARY KEY,
    product_code TEXT NOT NULL,
    account TEXT NOT NULL,
    agreement_id TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    provisioned_at REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS agreements_due ON agreements (due_at) WHERE provisioned_at IS NULL;

-- Who is signed in: stands in for the shop's own sessions.
CREATE TABLE IF NOT EXISTS sessions (
    secret_sha256 TEXT PRIMARY KEY,
    agreement_key TEXT NOT NULL,
    product_code TEXT NOT NULL,
    account TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_at ON sessions (at);

PRAGMA user_version = 1;
