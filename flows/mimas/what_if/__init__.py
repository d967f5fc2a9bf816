"""What would run, and what would have run by other rules: for people and programs that ask, without running it."""
