-- Records malformed messages (function of migration 0009).
SELECT resolution.note_malformed($1::json)
