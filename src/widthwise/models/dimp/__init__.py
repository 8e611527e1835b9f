"""DiMP: a tracker that learns, inside its forward, a filter that tells the target from the rest."""
