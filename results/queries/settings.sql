-- Every setting that is a number, by dataset: its correlation with the score over whole runs of the search.
SELECT sweep, dataset, regexp_replace(setting.fullkey, '^\$\.', '') AS setting, count(*) AS runs,
       min((setting.atom ->> '$')::DOUBLE) AS least, max((setting.atom ->> '$')::DOUBLE) AS greatest,
       corr((setting.atom ->> '$')::DOUBLE, score) AS correlation
FROM trials, json_tree(trials.config) AS setting
WHERE role = 'search' AND status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
  AND setting.type IN ('DOUBLE', 'BIGINT', 'UBIGINT')
GROUP BY ALL
HAVING min((setting.atom ->> '$')::DOUBLE) < max((setting.atom ->> '$')::DOUBLE)
ORDER BY sweep, dataset, abs(correlation) DESC NULLS LAST, setting
