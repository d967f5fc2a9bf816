"""How the spots of an image are found, and what is said of them: by DIALS, and Plaza's own way beside it."""
