"""Everything that knows Sanic's inside.

gateway             the application: what it serves itself, errors, the start
context             what one worker serves with: settings, plan, backends, its part of the node
port_security       the TLS of the port, with certificates as they are renewed
given_certificates  certificates that a program hands to Sanic, as settings
handshake_lines     log lines for handshakes with clients that have failed
protocol            brings connections in
stream              one request, as Sanic's handlers have it
request             its request object
fields              header fields that know what a middleware has changed
cookies             the cookies of backends among them
proxied_response    a backend's answer, as middleware sees it
policy_answer       what a policy answers, likewise
middleware          middleware on forwarded requests and their answers
middleware_calls    calls it, once one of it waits, answers or fails
middleware_answers  sends what it answers, or what its errors ask for
middleware_changes  the fields that it has changed
registered          which of it there is
backend_handle      a backend as the application's code has it
router              finds the handler of a backend for the routes of the settings
websocket           what an own route speaks after a 101
problems            exceptions as answers
unsupported         what the gateway refuses to do for Sanic
inspector           Sanic's inspector as a process of the node
blueprints          the routes of a backend, as Sanic lists them
extension           sanic-ext: what of it is on, and what it injects
backends            the backends by their names, for handlers
middleware_times    what each middleware takes
plugins             modules of users, attached
documents           what handlers say of themselves, as OpenAPI
signals             the gateway's events as Sanic's signals
http_events         Sanic's own events of connections and requests
observed_transport  a transport whose written bytes somebody looks at
"""
