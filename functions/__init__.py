"""A Lambda each: decode the event, wire clients, call one use case, log, count."""

import gc

gc.set_threshold(150_000)
"""Objects that are made before Python looks for garbage among them. A cold start makes some 120,000
that all stay; looking through them, every 700 new ones, was an eighth of it."""
