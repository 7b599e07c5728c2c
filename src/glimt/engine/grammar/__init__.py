"""Constrained decoding: what an answer may look like, and which tokens keep it so.

    schema    JSON Schema → nodes: what the keywords mean, refused where it cannot be enforced
    nodes     values that a schema admits; intersection, disjointness
    json_text nodes → rules for JSON text        pattern, formats, numbers: the terminals
    tools     declared functions → rules for GLM's own call format
    build     a request → one grammar (gateway side; no tokenizer needed)
    matcher   a grammar and a sequence → masks (worker side)

The law of this package: what a grammar lets through is valid. It may let through less than a
schema admits (properties come in the schema's order, undeclared ones only when the schema asks for
them), never more. Torch-free; the grammars are run by llguidance.
"""
