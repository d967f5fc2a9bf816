"""Writing to ISPyB by the database's stored procedures, for sites whose grants forbid direct SQL."""
