"""mindprint teaches a language model one author's knowledge and voice, topic by topic."""

__version__ = "0.1.0"
