"""Real-time enhancement."""
