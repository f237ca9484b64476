"""A cluster with the real controllers above it: what a restore has to be right by."""
