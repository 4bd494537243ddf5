-- Reads the outcomes of the given tokens.
--
-- A row at a time through the primary key: in a join the server, which takes any document for a
-- hundred rows, reads the whole ledger until that has tens of thousands.
SELECT
    stored.seller, stored.token_sha256, status, message_id, attempts, received_at, settled_at,
    product_code, customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, first_seen_at
FROM json_to_recordset($1::json) AS wanted (seller text, token_sha256 bytea)
CROSS JOIN LATERAL (
    SELECT *
    FROM resolution.ledger
    WHERE ledger.token_sha256 = wanted.token_sha256 AND ledger.seller = wanted.seller
    OFFSET 0
) AS stored
