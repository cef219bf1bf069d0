"""The demo site: a search page over the documentation that every Python carries."""
