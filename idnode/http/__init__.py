"""The HTTP faces of a node; one listener carries them all."""
