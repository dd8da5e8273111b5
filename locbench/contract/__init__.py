"""What every component must do, locbench's own and a user's alike."""
