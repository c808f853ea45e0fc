"""Few-shot prompting: what a model that was not trained for a task gets on it by reading examples."""
