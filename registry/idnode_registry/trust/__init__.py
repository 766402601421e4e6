"""Signed records: HS_SIGNATURE and HS_CERT, from octets to a verdict with reasons (docs/protocol.md §8).

::

    limits ---- what a verification may cost          verdicts -- what it can say
    jws ------- the container                         keys ------ which key takes which algorithm
    claims ---- what a container says                 digests --- what it says about a value
    scopes ---- who may sign what                     chain ----- from a signature up to its root
    judge ----- the verdict on a record               issue ----- making signatures and certificates
    sealing --- a node signs what it registers        the folder lab/ - chains on purpose, whole and broken

Nothing here fetches: :func:`idnode_registry.trust.judge.judge_record` is a generator that asks for the values of a
handle when it needs them, so that one set of rules serves callers that wait and callers that do not.
"""
