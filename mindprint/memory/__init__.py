"""What a run takes in memory, told from files' headers and the planned rows before it begins."""
