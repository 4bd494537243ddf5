-- Counts what a replay would do with the letters that were chosen, by group.
SELECT
    group_key, reason, error_code, eligibility, count(*) AS letters, min(redeemable_until) AS first_expiry
FROM (
    SELECT
        group_key, reason, error_code, redeemable_until,
        CASE
            WHEN state NOT IN ('open', 'replaying') THEN 'closed'
            WHEN state = 'replaying' AND published_at IS NOT NULL THEN 'under_way'
            WHEN reason = 'malformed' THEN 'malformed'
            WHEN shredded_at IS NOT NULL THEN 'shredded'
            WHEN
                redeemable_until IS NULL
                OR redeemable_until <= now() + ({given} ->> 'margin')::interval
                THEN 'expired'
            WHEN state = 'replaying' AND {held} THEN 'claimed'
            WHEN
                json_array_length({given} -> 'keys') > 0
                AND seal_key_id NOT IN (SELECT json_array_elements_text({given} -> 'keys'))
                THEN 'locked'
            ELSE 'ready'
        END AS eligibility
    FROM resolution.dead_letter
    WHERE {chosen}
) AS chosen
GROUP BY group_key, reason, error_code, eligibility
ORDER BY group_key, reason, error_code, eligibility
