-- Finds agreements, the last resolved first.
SELECT
    seller, customer_aws_account_id, customer_identifier, product_code, license_arn, agreement_id,
    offer_type, first_resolved_at, last_resolved_at
FROM resolution.agreement
WHERE {chosen}
ORDER BY last_resolved_at DESC, identity
LIMIT 20
