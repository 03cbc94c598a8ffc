-- Whether the sampler does better than chance: whole search runs by who proposed the config.
SELECT sweep, dataset, origin, count(*) AS runs, avg(score) AS mean, max(score) AS best
FROM trials
WHERE role = 'search' AND status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
GROUP BY sweep, dataset, origin
ORDER BY sweep, dataset, mean DESC, origin
