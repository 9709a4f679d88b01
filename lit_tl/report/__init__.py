"""Reports and notebooks of sessions."""
