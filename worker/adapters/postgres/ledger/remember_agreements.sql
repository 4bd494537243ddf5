-- Stores the agreements of resolved outcomes: null never overwrites a value, and the first offer
-- type is kept. An agreement is identified by the same expression as the table's column `identity`.
INSERT INTO resolution.agreement AS known (
    seller, customer_aws_account_id, customer_identifier, product_code, license_arn,
    agreement_id, offer_type, first_resolved_at, last_resolved_at
)
SELECT
    (array_agg(seller ORDER BY position))[1],
    (array_agg(customer_aws_account_id ORDER BY position DESC)
        FILTER (WHERE customer_aws_account_id IS NOT NULL))[1],
    (array_agg(customer_identifier ORDER BY position DESC)
        FILTER (WHERE customer_identifier IS NOT NULL))[1],
    (array_agg(product_code ORDER BY position DESC)
        FILTER (WHERE product_code IS NOT NULL))[1],
    license_arn,
    (array_agg(agreement_id ORDER BY position DESC)
        FILTER (WHERE agreement_id IS NOT NULL))[1],
    (array_agg(offer_type ORDER BY position)
        FILTER (WHERE offer_type IS NOT NULL))[1],
    min(settled_at),
    max(settled_at)
FROM (
    SELECT
        *,
        CASE
            WHEN license_arn IS NOT NULL THEN ARRAY[license_arn]
            ELSE ARRAY[
                seller, coalesce(customer_aws_account_id, customer_identifier), product_code
            ]
        END AS identity
    FROM ROWS FROM (
        json_to_recordset($1::json) AS (
            seller text, status text, customer_aws_account_id text, customer_identifier text,
            product_code text, license_arn text, agreement_id text, offer_type text,
            settled_at timestamptz
        )
    ) WITH ORDINALITY AS given (
        seller, status, customer_aws_account_id, customer_identifier, product_code, license_arn,
        agreement_id, offer_type, settled_at, position
    )
    WHERE status = 'resolved'
) AS named
GROUP BY identity, license_arn
ORDER BY identity
ON CONFLICT (identity) DO UPDATE SET
    customer_aws_account_id
        = coalesce(excluded.customer_aws_account_id, known.customer_aws_account_id),
    customer_identifier = coalesce(excluded.customer_identifier, known.customer_identifier),
    product_code = coalesce(excluded.product_code, known.product_code),
    agreement_id = coalesce(excluded.agreement_id, known.agreement_id),
    offer_type = coalesce(known.offer_type, excluded.offer_type),
    first_resolved_at = least(known.first_resolved_at, excluded.first_resolved_at),
    last_resolved_at = greatest(known.last_resolved_at, excluded.last_resolved_at)
