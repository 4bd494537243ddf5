-- Finds settled tokens, the last settled first.
SELECT
    seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
    customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, first_seen_at
FROM resolution.ledger
WHERE {chosen}
ORDER BY settled_at DESC, token_sha256
LIMIT 21
