"""What the script `dev-cluster` runs. Standard library only: it runs before anything of Plaza is installed."""
