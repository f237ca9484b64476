"""A report -> what people read: an HTML page, and a table of fixed width."""
