"""Images of disks, raw and QCOW2, alone or in a chain: which bytes a guest sees, and where they
lie.

Pure: what is read is asked of a function. No library does it: the one that is kept reads a parent
that is smaller than its image wrong, and its licence would bind whoever runs the stack
(docs/decisions.md).
"""
