"""People who sign in: who they are and what they may do, how each proves it, and how long that holds."""
