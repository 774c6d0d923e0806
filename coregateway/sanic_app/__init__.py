"""Everything that knows Sanic's inside.

gateway       the application: what it serves itself, errors, the start
protocol      brings connections in
stream        one request, as Sanic's handlers have it
request       its request object
router        finds the handler of a backend for the routes of the settings
websocket     what an own route speaks after a 101
problems      exceptions as answers
blueprints    the routes of a backend, as Sanic lists them
extension     sanic-ext: what of it is on, and what it injects
backends      the backends by their names, for handlers
middleware_times  what each middleware takes
plugins       modules of users, attached
documents     what handlers say of themselves, as OpenAPI
signals       the gateway's events as Sanic's signals
"""
