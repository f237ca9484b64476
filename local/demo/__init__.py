"""The story on screen, with the real stack: a machine is restored, then a whole cluster is lost."""
