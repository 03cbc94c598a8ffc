-- Every choice that is a name, by dataset: whole runs of the search with it, their mean and best score.
SELECT sweep, dataset, regexp_replace(setting.fullkey, '^\$\.', '') AS setting,
       setting.atom ->> '$' AS choice, count(*) AS runs, avg(score) AS mean, max(score) AS best
FROM trials, json_tree(trials.config) AS setting
WHERE role = 'search' AND status = 'completed' AND fidelity >= 1 - 1e-9 AND score IS NOT NULL
  AND setting.type = 'VARCHAR'
GROUP BY ALL
ORDER BY sweep, dataset, setting, mean DESC, choice
