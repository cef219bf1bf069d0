"""What clickmw costs, as ratios to other ways of doing the same in the same run: ``make bench``."""
