"""What an answer is worth: accuracy, voice, degeneracy. Text in, scores with reasons out."""
