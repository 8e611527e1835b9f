"""Published methods, one file each, with their settings beside them."""
