"""Finished runs held against each other: what differs in them, and where they part."""
