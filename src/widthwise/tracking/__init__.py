"""Visual tracking: boxes, crops, trackers and how they are run."""
