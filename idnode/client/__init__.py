"""Asking and administering a server: the client side of the protocol, on asyncio."""
