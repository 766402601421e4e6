"""The engines behind :class:`idnode_registry.store.Store`: ``memory`` and ``lmdb``."""
