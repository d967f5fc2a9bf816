"""One image in many of each run is done by DIALS too, and what follows where the numbers differ."""
