-- Writes a lease that was computed from this version of the seller's row; returns no row if another
-- replica's lease was written first.
SELECT written
FROM
    resolution.lease(
        $1, $2, $3::json, $4, $5, $6, $7, $8, $9, $10, $11, $12::json
    ) AS written
WHERE written
