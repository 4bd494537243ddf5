-- Marks the schema as a playground if nothing is stored in it. Needs a transaction.
LOCK TABLE
    resolution.ledger, resolution.customer, resolution.agreement, resolution.dead_letter,
    resolution.malformed_message
    IN SHARE ROW EXCLUSIVE MODE;

INSERT INTO resolution.stand_in (one)
SELECT TRUE
WHERE
    NOT EXISTS (SELECT FROM resolution.ledger)
    AND NOT EXISTS (SELECT FROM resolution.customer)
    AND NOT EXISTS (SELECT FROM resolution.agreement)
    AND NOT EXISTS (SELECT FROM resolution.dead_letter)
    AND NOT EXISTS (SELECT FROM resolution.malformed_message)
ON CONFLICT (one) DO NOTHING;
