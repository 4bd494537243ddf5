-- Writes outcomes, one for each token, and returns the resulting rows of those it wrote.
-- Sorted by key, so that overlapping batches of two workers can't deadlock.
INSERT INTO resolution.ledger AS stood (
    seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
    customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, advice, first_seen_at
)
SELECT
    seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
    customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, advice, first_seen_at
FROM json_to_recordset($1::json) AS given (
    seller text, token_sha256 bytea, status text, message_id text, attempts integer,
    received_at timestamptz, settled_at timestamptz, product_code text,
    customer_aws_account_id text, customer_identifier text, license_arn text, agreement_id text,
    offer_type text, error_code text, error_message text, advice text,
    first_seen_at timestamptz
)
ORDER BY token_sha256, seller
ON CONFLICT (token_sha256, seller) DO UPDATE SET
    status = excluded.status,
    message_id = CASE
        WHEN excluded.received_at < stood.received_at THEN excluded.message_id
        ELSE stood.message_id
    END,
    attempts = excluded.attempts,
    received_at = least(stood.received_at, excluded.received_at),
    settled_at = excluded.settled_at,
    product_code = excluded.product_code,
    customer_aws_account_id = excluded.customer_aws_account_id,
    customer_identifier = excluded.customer_identifier,
    license_arn = excluded.license_arn,
    agreement_id = excluded.agreement_id,
    offer_type = excluded.offer_type,
    error_code = excluded.error_code,
    error_message = excluded.error_message,
    advice = excluded.advice,
    first_seen_at = least(coalesce(stood.first_seen_at, stood.settled_at), excluded.first_seen_at)
WHERE
    stood.status <> 'resolved'
    AND (
        excluded.status = 'resolved'
        OR excluded.settled_at >= stood.settled_at
        -- Settled in the future, so by a clock that was wrong.
        OR stood.settled_at > clock_timestamp() + interval '10 seconds'
    )
RETURNING
    seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
    customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, first_seen_at
