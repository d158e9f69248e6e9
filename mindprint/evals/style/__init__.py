"""The voice on a scale with two measured ends: the base's answers are 0, the author's own are 1."""
