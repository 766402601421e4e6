"""What load is sent to, and the ways there: UDP, TCP, HTTP, and a node without sockets."""
