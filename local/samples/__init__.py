"""Backups as Longhorn and Harvester write them, made to measure for tests, the demo and the
benchmark.
"""
