-- Failed trials by their error's line, numbers and identifiers aside, the most frequent first.
SELECT count(*) AS trials, count(DISTINCT dataset) AS datasets,
       regexp_replace(coalesce(error, 'no error was recorded'), '(0x)?[0-9a-f]*[0-9][0-9a-f.]*', '#', 'gi') AS cause,
       min(trial_id) AS example
FROM trials
WHERE status = 'failed'
GROUP BY cause
ORDER BY trials DESC, cause
