-- Archives the letters that have been past saving for a day.
SELECT resolution.archive_letters($1) AS rows
