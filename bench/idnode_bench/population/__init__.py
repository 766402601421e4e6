"""Factory populations from a seed: computed, so any number of records costs no memory."""
