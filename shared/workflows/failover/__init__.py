"""A failover, step by step: begin, guard, conduct, ask, report. The state machine calls them."""
