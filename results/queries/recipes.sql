-- Published recipes and baselines: the mean of each on each dataset, over its seeds.
SELECT sweep, dataset, coalesce(preset, role) AS recipe, role, count(*) AS runs, avg(score) AS mean,
       stddev_samp(score) AS sd, avg(test_score) AS test_mean
FROM trials
WHERE status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL AND (preset IS NOT NULL OR role <> 'search')
GROUP BY sweep, dataset, recipe, role
ORDER BY sweep, dataset, mean DESC, recipe, role
