"""A screen: what it shows, its timing, and DVI's code and bits."""
