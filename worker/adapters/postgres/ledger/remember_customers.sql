-- Stores the customers of resolved outcomes; null never overwrites a value.
INSERT INTO resolution.customer AS known (
    seller, customer_aws_account_id, customer_identifier, first_resolved_at, last_resolved_at
)
SELECT
    seller,
    (array_agg(customer_aws_account_id ORDER BY position DESC)
        FILTER (WHERE customer_aws_account_id IS NOT NULL))[1],
    (array_agg(customer_identifier ORDER BY position DESC)
        FILTER (WHERE customer_identifier IS NOT NULL))[1],
    min(settled_at),
    max(settled_at)
FROM ROWS FROM (
    json_to_recordset($1::json) AS (
        seller text, status text, customer_aws_account_id text, customer_identifier text,
        settled_at timestamptz
    )
) WITH ORDINALITY AS given (
    seller, status, customer_aws_account_id, customer_identifier, settled_at, position
)
WHERE status = 'resolved'
GROUP BY seller, coalesce(customer_aws_account_id, customer_identifier)
ORDER BY seller, coalesce(customer_aws_account_id, customer_identifier)
ON CONFLICT (seller, customer) DO UPDATE SET
    customer_aws_account_id
        = coalesce(excluded.customer_aws_account_id, known.customer_aws_account_id),
    customer_identifier = coalesce(excluded.customer_identifier, known.customer_identifier),
    first_resolved_at = least(known.first_resolved_at, excluded.first_resolved_at),
    last_resolved_at = greatest(known.last_resolved_at, excluded.last_resolved_at)
