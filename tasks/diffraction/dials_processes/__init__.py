"""DIALS in processes of its own, and what is done about those that die."""
