"""What a restore as a whole asks of its target: each module one question, all of them pure."""
