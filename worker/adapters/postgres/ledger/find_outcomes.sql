-- Reads the outcomes of the given tokens.
SELECT
    seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
    customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, first_seen_at
FROM json_to_recordset($1::json) AS wanted (seller text, token_sha256 bytea)
INNER JOIN resolution.ledger USING (token_sha256, seller)
