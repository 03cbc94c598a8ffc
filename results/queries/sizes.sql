-- The best score on each dataset among students of at most so many parameters: only sizes that beat all smaller ones.
WITH runs AS (
    SELECT sweep, dataset, parameters, student, max(score) AS score
    FROM trials
    WHERE role = 'search' AND status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
      AND parameters IS NOT NULL
    GROUP BY sweep, dataset, parameters, student
)
SELECT sweep, dataset, parameters, student, score
FROM runs
QUALIFY score > coalesce(max(score) OVER (
    PARTITION BY sweep, dataset ORDER BY parameters, score DESC, student
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
), '-infinity'::DOUBLE)
ORDER BY sweep, dataset, parameters
