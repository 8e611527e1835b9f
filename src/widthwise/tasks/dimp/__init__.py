"""DiMP: a tracker that learns, inside its forward, a filter that tells a target from the rest."""
