"""From configs to distilled students: data, teachers, losses and cohorts. Needs neither Ray nor Optuna."""
