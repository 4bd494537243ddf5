-- Finds the dead letters of a message, or of the tokens between two, and those of given tokens.
SELECT
    id,
    token_sha256
FROM resolution.dead_letter
WHERE {chosen}
UNION
SELECT
    letter.id,
    letter.token_sha256
FROM json_array_elements_text($1::json) AS given (sha256)
INNER JOIN resolution.dead_letter AS letter ON letter.token_sha256 = decode(given.sha256, 'hex')
ORDER BY id DESC
LIMIT 20
