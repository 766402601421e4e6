"""Signed records at the node: verification with its fetches, and the key with which a node signs."""
