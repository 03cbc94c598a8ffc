-- Learning curves: the mean and best score of all trials of a dataset at each share of the budget.
SELECT sweep, dataset, round(fidelity, 6) AS share_of_budget, count(*) AS trials, avg(score) AS mean, max(score) AS best
FROM epochs
WHERE score IS NOT NULL AND role = 'search'
GROUP BY sweep, dataset, share_of_budget
ORDER BY sweep, dataset, share_of_budget
