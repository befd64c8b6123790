"""The documentation as a site: `make docs` builds it from docs/, the code and the row program."""
