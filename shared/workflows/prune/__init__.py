"""Pruning: copies that a policy keeps no longer are deleted, with what only they need."""
