"""The API documents of backends, made into parts of one. Pure: from bytes and a recipe to bytes.

    recipe       what the settings say of a backend's document
    reading      bytes as a document: its version, its bounds
    dialect      schemas of OpenAPI 3.0 as those of 3.1
    grammar      what an object of a document may hold
    references   what points to where, and is rewritten
    schemas      schemas, rebuilt
    things       what operations are described by: parameters, bodies, answers
    paths        where the paths of a document are, at the backend and at the gateway
    document     a whole document, rebuilt under its prefix
    pruning      components that nothing refers to
    security     what a caller must show, the gateway's part included
    swagger2     documents of Swagger 2, which are shown alone
    pieces       what is published of a document
    building     the process that does it
    operations   the operations of a backend as workers find them, each with what is needed to check requests
    request_schemas   the schemas of one operation, as requests are held against them

A document comes from a backend and is believed nothing: what does not fit the grammar of OpenAPI is left out,
nothing elsewhere is asked for, and time and size are bounded by those of its bytes.
"""
