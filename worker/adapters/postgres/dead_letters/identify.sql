-- Writes into letters of parked messages what they are about, before they go out: so their outcome
-- finds them. One whose message has another letter already keeps the id it was given.
UPDATE resolution.dead_letter AS letter
SET
    seller = known.seller,
    token_sha256 = known.token_sha256,
    message_id = CASE
        WHEN
            EXISTS (
                SELECT FROM resolution.dead_letter AS twin
                WHERE
                    twin.body_sha256 = letter.body_sha256
                    AND twin.message_id = known.message_id
            )
            THEN letter.message_id
        ELSE known.message_id
    END
FROM json_to_recordset($1::json) AS known (
    id bigint, seller text, token_sha256 bytea, message_id text
)
WHERE letter.id = known.id
