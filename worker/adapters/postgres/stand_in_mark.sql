-- Marks the schema as a stand-in's, if nothing was ever stored in it. In a transaction of its own.
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
