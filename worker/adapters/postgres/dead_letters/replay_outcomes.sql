-- What has become of letters that a replay has published: those that have an outcome.
SELECT
    letter.id, letter.message_id, letter.state, letter.reason, letter.error_code,
    letter.error_message
FROM resolution.dead_letter AS letter
WHERE
    letter.id IN (SELECT value::bigint FROM json_array_elements_text($1::json))
    AND letter.state <> 'replaying'
