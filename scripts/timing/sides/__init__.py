"""The sides of a comparison: each a worker in a process of its own."""
