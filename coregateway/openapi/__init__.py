"""Documents of OpenAPI. Pure: no input and output, and nothing of the settings.

operations       the operations of a backend as workers find them, each with what is needed to check requests
request_schemas  the schemas of one operation, as requests are held against them
"""
