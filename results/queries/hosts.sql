-- Each machine's trials: how many, how many failed, and how long a step of training took there.
SELECT host, device, count(*) AS trials, count(*) FILTER (status = 'failed') AS failed,
       sum(train_seconds) / nullif(sum(steps) FILTER (train_seconds IS NOT NULL), 0) * 1000 AS ms_a_step,
       count(*) FILTER (resumed_from IS NOT NULL) AS resumed
FROM trials
GROUP BY host, device
ORDER BY trials DESC, host, device
