"""The links of a node's chain, in the order :mod:`idnode.node` lists them."""
