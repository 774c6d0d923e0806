"""Requests held against the operation that they call, as the document of their backend has it.

checks       one operation, ready to judge requests; those of a backend, each made at its first use
parameters   what a request says of each parameter, by style and place
bodies       which schema holds for a body, and what is in it
scalars      texts read as numbers, times and the like, as Pydantic reads them
readings     schemas that take such texts, too
mismatches   where a value does not fit its schema, in words that quote nothing of it

Only `checks` and what is below it need the extra `validation`, and nothing imports it before a backend's
requests are validated. All of it is pure.
"""
