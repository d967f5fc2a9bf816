"""Events and requests that wait on the disk until they are sent."""
