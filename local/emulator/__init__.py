"""MiniStack on the loopback interface, corrected where this project's template needs AWS's
behaviour.
"""
