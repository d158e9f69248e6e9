"""A run's model written in the forms that others read."""
