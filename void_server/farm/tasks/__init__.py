"""What runs on a blade."""
