"""The one training loop and what it needs: optimizers, budget, checkpoints, record."""
