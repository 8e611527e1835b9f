"""Many passes: narrow the network, see what fails, find a remedy or freeze it, run again."""
