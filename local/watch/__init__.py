"""What controllers of ours are made of: the objects of a cluster as they are watched, and the loop
that decides over them.
"""
