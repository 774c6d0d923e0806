"""The subscribers of all of Sanic's events on the gateway: `sanic tests.sanic_app.gateway_events_app:app`."""

from coregateway.app import app
from tests.sanic_app.eventful import attach, attach_middleware

attach(app)
attach_middleware(app)
