-- The best completed whole run of the search on each dataset, with its test score and its teacher's.
SELECT sweep, dataset, config_id, metric, score, test_score, teacher_score, score / nullif(teacher_score, 0) AS of_teacher,
       student, parameters, latency_ms
FROM trials
WHERE role = 'search' AND status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY sweep, dataset ORDER BY score DESC, config_id DESC) = 1
ORDER BY sweep, dataset
