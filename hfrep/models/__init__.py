"""Which model is trained, and what it may attend to in a row that holds several documents."""
