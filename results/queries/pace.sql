-- Trials that ended in each hour, and how long they took.
SELECT sweep, date_trunc('hour', ended_at) AS hour, count(*) AS trials,
       count(*) FILTER (status = 'failed') AS failed, avg(wall_seconds) AS mean_seconds
FROM trials
WHERE ended_at IS NOT NULL
GROUP BY sweep, hour
ORDER BY sweep, hour
