"""What `scripts/bench.py` measures: mindprint and its peers side by side, on one machine."""
