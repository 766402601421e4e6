"""Listeners of the native protocol and of HTTP. They move octets; what the octets mean is the engine's business."""
