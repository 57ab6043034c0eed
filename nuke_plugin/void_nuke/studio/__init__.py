"""What a studio sets up: settings, hooks, path maps, packages."""
