"""One pass over a network: which operators run, where in the code, and on which channels."""
