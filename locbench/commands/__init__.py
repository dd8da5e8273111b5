"""What each command does: plan, train, compare, show."""
