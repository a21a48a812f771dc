"""Reading and steering trials over HTTP."""
