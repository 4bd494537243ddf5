-- The ledger of tokens, what it tells about customers and agreements, and what was given up.
-- The tables are the worker's own; others read the views at the end.

CREATE TABLE resolution.ledger (
    seller text NOT NULL,
    token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
    status text NOT NULL CHECK (status IN ('resolved', 'rejected', 'expired', 'dead')),
    message_id text NOT NULL,
    product_code text,
    customer_aws_account_id text,
    customer_identifier text,
    license_arn text,
    agreement_id text,
    offer_type text,
    error_code text,
    error_message text,
    advice text,
    attempts integer NOT NULL CHECK (attempts >= 0),
    received_at timestamptz NOT NULL,
    settled_at timestamptz NOT NULL,
    -- The token first: readers look a token up without knowing its seller.
    PRIMARY KEY (token_sha256, seller),
    CONSTRAINT ledger_resolved_says_who_and_what CHECK (
        status <> 'resolved'
        OR (product_code IS NOT NULL
            AND coalesce(customer_aws_account_id, customer_identifier) IS NOT NULL)
    )
);

CREATE TABLE resolution.customer (
    seller text NOT NULL,
    customer text GENERATED ALWAYS AS (
        coalesce(customer_aws_account_id, customer_identifier)
    ) STORED,
    customer_aws_account_id text,
    customer_identifier text,
    first_resolved_at timestamptz NOT NULL,
    last_resolved_at timestamptz NOT NULL,
    PRIMARY KEY (seller, customer)
);

CREATE TABLE resolution.agreement (
    -- One row a licence; where AWS names none, one for each seller, customer and product.
    identity text[] GENERATED ALWAYS AS (
        CASE
            WHEN license_arn IS NOT NULL THEN ARRAY[license_arn]
            ELSE ARRAY[
                seller, coalesce(customer_aws_account_id, customer_identifier), product_code
            ]
        END
    ) STORED PRIMARY KEY,
    seller text NOT NULL,
    customer_aws_account_id text,
    customer_identifier text,
    product_code text NOT NULL,
    license_arn text,
    agreement_id text,
    offer_type text,
    first_resolved_at timestamptz NOT NULL,
    last_resolved_at timestamptz NOT NULL,
    CONSTRAINT agreement_says_who CHECK (
        coalesce(customer_aws_account_id, customer_identifier) IS NOT NULL
    )
);

CREATE INDEX agreement_by_account ON resolution.agreement (customer_aws_account_id);

CREATE TABLE resolution.dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'replaying', 'resolved', 'discarded', 'archived')),
    seller text NOT NULL,
    reason text NOT NULL,
    error_code text NOT NULL,
    error_message text NOT NULL,
    token_sha256 bytea CHECK (octet_length(token_sha256) = 32),
    body_sha256 bytea NOT NULL CHECK (octet_length(body_sha256) = 32),
    message_id text NOT NULL,
    correlation_id text,
    lane text NOT NULL,
    -- Not jsonb, which refuses the escape \u0000 that JSON allows.
    metadata text,
    attempts integer NOT NULL CHECK (attempts >= 0),
    occurrences integer NOT NULL DEFAULT 1 CHECK (occurrences >= 1),
    received_at timestamptz NOT NULL,
    first_failed_at timestamptz NOT NULL,
    failed_at timestamptz NOT NULL,
    redeemable_until timestamptz,
    sealed bytea NOT NULL,
    seal_key_id text NOT NULL,
    body_bytes integer NOT NULL CHECK (body_bytes >= 0),
    -- A message is its body and its id, whatever it died of: it has one row for life.
    CONSTRAINT dead_letter_is_one_message UNIQUE (body_sha256, message_id)
);

-- What is sealed does not compress: spare the attempt.
ALTER TABLE resolution.dead_letter ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE INDEX dead_letter_by_time ON resolution.dead_letter (state, failed_at, id);
CREATE INDEX dead_letter_by_reason ON resolution.dead_letter (state, reason, failed_at, id);
CREATE INDEX dead_letter_by_error ON resolution.dead_letter (state, reason, error_code, failed_at);
CREATE INDEX dead_letter_by_token ON resolution.dead_letter (token_sha256, seller)
    WHERE token_sha256 IS NOT NULL;
CREATE INDEX dead_letter_redeemable ON resolution.dead_letter (redeemable_until)
    WHERE state = 'open' AND redeemable_until IS NOT NULL;

CREATE TABLE resolution.malformed_message (
    body_sha256 bytea NOT NULL CHECK (octet_length(body_sha256) = 32),
    message_id text NOT NULL,
    reason text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (body_sha256, message_id)
);

CREATE VIEW resolution.outcomes AS
SELECT
    token_sha256, message_id, status, seller, product_code, customer_aws_account_id,
    customer_identifier, license_arn, agreement_id, offer_type, error_code, error_message,
    advice, attempts, received_at, settled_at
FROM resolution.ledger;

CREATE VIEW resolution.agreements AS
SELECT
    seller, customer_aws_account_id, customer_identifier, product_code, license_arn,
    agreement_id, offer_type, first_resolved_at, last_resolved_at
FROM resolution.agreement;

CREATE VIEW resolution.malformed AS
SELECT body_sha256, message_id, reason, received_at
FROM resolution.malformed_message;
