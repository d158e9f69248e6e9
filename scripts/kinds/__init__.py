"""What `scripts/ablation.py` is made of: kinds of adapter, trained alike and compared."""
