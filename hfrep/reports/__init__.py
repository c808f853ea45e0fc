"""What recipes that compare print and leave in their folders."""
