"""The frozen vocabulary of the project; nothing in it does anything.

Each module is imported for itself: a function that answers questions does not load what a restore
is.
"""
