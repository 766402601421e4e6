"""What measured figures allow us to say: intervals, fits, verdicts."""
