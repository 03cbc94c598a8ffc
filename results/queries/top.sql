-- The ten best configs of each dataset by their mean over seeds, whole runs alone.
SELECT sweep, dataset, role, config_id, count(*) AS seeds, avg(score) AS mean, stddev_samp(score) AS sd,
       any_value(config) AS config
FROM trials
WHERE status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
GROUP BY sweep, dataset, role, config_id
QUALIFY row_number() OVER (PARTITION BY sweep, dataset, role ORDER BY avg(score) DESC, config_id DESC) <= 10
ORDER BY sweep, dataset, role, mean DESC, config_id
