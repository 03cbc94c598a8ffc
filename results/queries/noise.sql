-- How much scores differ between seeds of one config, pooled by dataset and role, beside how much they differ at all.
WITH configs AS (
    SELECT sweep, dataset, role, config_id, count(*) AS seeds, var_samp(score) AS variance
    FROM trials
    WHERE status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
    GROUP BY sweep, dataset, role, config_id
    HAVING count(*) > 1
),
all_runs AS (
    SELECT sweep, dataset, role, stddev_samp(score) AS sd_of_all
    FROM trials
    WHERE status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
    GROUP BY sweep, dataset, role
)
SELECT sweep, dataset, role, count(*) AS configs, sum(seeds)::BIGINT AS runs,
       sqrt(sum(variance * (seeds - 1)) / sum(seeds - 1)) AS sd_of_seeds, any_value(sd_of_all) AS sd_of_all
FROM configs JOIN all_runs USING (sweep, dataset, role)
GROUP BY sweep, dataset, role
ORDER BY sweep, dataset, role
