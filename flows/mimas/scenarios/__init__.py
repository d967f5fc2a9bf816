"""From what is known of a data collection to the scenario that the rules judge."""
