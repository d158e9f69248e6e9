"""Builds the small base model that ships: world, language, corpus, tokenizer, training."""
