-- What each dataset has cost: trials, hours summed over trials, and the share spent on failed and stopped ones.
SELECT sweep, dataset, count(*) AS trials, sum(wall_seconds) / 3600 AS hours, sum(train_seconds) / 3600 AS train_hours,
       sum(wall_seconds) FILTER (status = 'failed') / nullif(sum(wall_seconds), 0) AS failed_share,
       sum(wall_seconds) FILTER (status = 'stopped') / nullif(sum(wall_seconds), 0) AS stopped_share
FROM trials
GROUP BY sweep, dataset
ORDER BY sweep, dataset
