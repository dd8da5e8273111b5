"""From a table and a selection to runs: plan, jobs, sweep, pool, budget."""
