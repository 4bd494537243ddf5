-- Notes messages that could not be read.
SELECT resolution.note_malformed($1::json)
