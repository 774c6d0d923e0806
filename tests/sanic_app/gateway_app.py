"""The blueprint of everything on the gateway: `sanic tests.sanic_app.gateway_app:app`."""

from coregateway.app import app
from tests.sanic_app.everything import attach

attach(app)
