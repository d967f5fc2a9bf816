"""What Mimas asks for, carried out: runs of recipes, and jobs in ISPyB that are started or held."""
