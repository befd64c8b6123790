"""The integer model that defines Rasca's hardware, the float network beside it, and what lies between."""
