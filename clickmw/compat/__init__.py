"""Foreign click APIs that clickmw speaks, one file each."""
