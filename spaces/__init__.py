"""What may be searched: choices, priors, configs, spaces and the files that people write."""
