"""What a model has learned, measured by totals."""
