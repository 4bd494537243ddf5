-- Which of these letters do not exist.
SELECT wanted.value::bigint AS id
FROM json_array_elements_text($1::json) AS wanted
WHERE NOT EXISTS (SELECT FROM resolution.dead_letter WHERE dead_letter.id = wanted.value::bigint)
ORDER BY id
