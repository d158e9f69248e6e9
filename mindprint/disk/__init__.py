"""Writing so that a name that exists is complete, and reading so that damage is never believed."""
