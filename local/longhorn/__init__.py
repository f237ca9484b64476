"""What of Longhorn cannot run here, over its custom resources: the sync with a backup target, and
volumes, snapshots and backups without data.
"""
