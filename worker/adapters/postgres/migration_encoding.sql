-- Reads in which encoding the database stores text.
SELECT current_setting('server_encoding') AS encoding
