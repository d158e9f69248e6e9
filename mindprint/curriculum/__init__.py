"""An author's curriculum: files in, typed records with file:line out."""
