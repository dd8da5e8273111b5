"""Plan, jobs, sweep, pool and budget of runs."""
