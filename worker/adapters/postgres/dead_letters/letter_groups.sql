-- Groups of the selected letters, those with the most that wait and can be saved first. The newest letter of a
-- group lends it the words.
WITH sizes AS (
    SELECT
        letter.group_key,
        count(*) AS letters,
        min(letter.first_failed_at) AS first_failed_at,
        max(letter.failed_at) AS last_failed_at,
        count(*) FILTER (
            WHERE letter.redeemable_until > now() AND letter.state = 'open'
        ) AS redeemable,
        min(letter.redeemable_until) FILTER (
            WHERE letter.redeemable_until > now() AND letter.state = 'open'
        ) AS first_expiry,
        max(letter.id) AS newest
    FROM resolution.dead_letter AS letter
    WHERE {chosen}
    GROUP BY letter.group_key
),

shown AS (
    SELECT
        *,
        count(*) OVER () AS groups,
        sum(letters) OVER () AS all_letters,
        sum(redeemable) OVER () AS all_redeemable
    FROM sizes
    ORDER BY redeemable DESC, letters DESC, group_key
    LIMIT $1
)

SELECT
    shown.group_key,
    newest.reason,
    newest.error_code,
    newest.error_message,
    shown.letters,
    shown.first_failed_at,
    shown.last_failed_at,
    shown.redeemable,
    shown.first_expiry,
    coalesce(
        (
            SELECT sum(told.surplus)
            FROM (
                SELECT greatest(sum(letters) - max(bound), 0) AS surplus
                FROM resolution.letter_count
                WHERE group_key = shown.group_key
                GROUP BY hour
            ) AS told
        ),
        0
    )::bigint AS not_kept,
    shown.groups,
    shown.all_letters::bigint,
    shown.all_redeemable::bigint
FROM shown
INNER JOIN resolution.dead_letter AS newest ON shown.newest = newest.id
ORDER BY shown.redeemable DESC, shown.letters DESC, shown.group_key
