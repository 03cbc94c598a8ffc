-- Where trials were stopped: how many at each share of the budget, and what they scored there.
SELECT sweep, dataset, round(fidelity, 6) AS share_of_budget, count(*) AS stopped, min(score) AS worst,
       median(score) AS median, max(score) AS best
FROM trials
WHERE status = 'stopped'
GROUP BY sweep, dataset, share_of_budget
ORDER BY sweep, dataset, share_of_budget
