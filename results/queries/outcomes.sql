-- Trials of each dataset and role by how they ended.
SELECT sweep, dataset, role, count(*) AS trials, count(*) FILTER (status = 'completed') AS completed,
       count(*) FILTER (status = 'stopped') AS stopped, count(*) FILTER (status = 'failed') AS failed
FROM trials
GROUP BY sweep, dataset, role
ORDER BY sweep, dataset, role
