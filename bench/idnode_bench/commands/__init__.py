"""The commands of ``idnode bench``, one module each."""
