"""What counts seeds: each experiment is one file with its frozen setting and its claim."""
