-- Closes the letters of tokens that stand resolved: there is nothing left to reprocess.
WITH closed AS (
    UPDATE resolution.dead_letter
    SET state = 'resolved', closed_at = now()
    FROM json_to_recordset($1::json) AS settled (seller text, token_sha256 bytea)
    WHERE
        dead_letter.token_sha256 = settled.token_sha256
        AND dead_letter.seller = settled.seller
        AND dead_letter.state IN ('open', 'replaying')
    RETURNING dead_letter.id
)

INSERT INTO resolution.letter_event (letter_id, kind)
SELECT id, 'resolved'
FROM closed
