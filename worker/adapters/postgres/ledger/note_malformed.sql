-- Records malformed messages.
SELECT resolution.note_malformed($1::json)
