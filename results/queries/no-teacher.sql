-- On each dataset the share of whole search runs that beat the same student without a teacher, and by how much.
SELECT sweep, dataset, count(*) AS runs, count(*) FILTER (score > no_teacher_score) / count(*) AS beat_it,
       avg(score - no_teacher_score) AS mean_gain, max(score - no_teacher_score) AS best_gain
FROM trials
WHERE role = 'search' AND status = 'completed' AND fidelity >= 1 - 1e-9
  AND score IS NOT NULL AND no_teacher_score IS NOT NULL
GROUP BY sweep, dataset
ORDER BY sweep, dataset
