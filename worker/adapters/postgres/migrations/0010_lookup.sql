-- One buyer's token, found in a million rows by what a person has at hand.

-- Of a beginning that always fits into an index, whatever a publisher or AWS sends: no row is refused
-- for its length.
CREATE INDEX ledger_by_message ON resolution.ledger (left(message_id, 255));
CREATE INDEX ledger_by_account ON resolution.ledger (left(customer_aws_account_id, 255))
    WHERE customer_aws_account_id IS NOT NULL;
CREATE INDEX ledger_by_customer ON resolution.ledger (left(customer_identifier, 255))
    WHERE customer_identifier IS NOT NULL;
CREATE INDEX ledger_by_license ON resolution.ledger (left(license_arn, 255))
    WHERE license_arn IS NOT NULL;
CREATE INDEX agreement_by_customer ON resolution.agreement (left(customer_identifier, 255))
    WHERE customer_identifier IS NOT NULL;
CREATE INDEX malformed_message_by_id ON resolution.malformed_message (left(message_id, 255));
