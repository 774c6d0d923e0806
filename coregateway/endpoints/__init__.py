"""What the gateway answers itself, as handlers of the Sanic application.

health       /health, /livez, /readyz
docs         /docs, /openapi.json and their files
openapi      the API document, as far as it is the gateway's
components   what its operations share
assembly     the documents of backends with it, put together
served_documents   /openapi.json and /openapi/BACKEND.json
admin        the admin address: /status, and which requests it takes
requests     the admin address: one request that failed or was slow
control      the admin address: what operators may change of a node that runs
dashboard    /dashboard
"""
