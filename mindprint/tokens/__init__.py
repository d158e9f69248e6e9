"""From conversations to token ids and masks, and from those to batches."""
