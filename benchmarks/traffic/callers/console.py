"""Consoles: questions and answers on a WebSocket that stays open. Below /demo/, so of the demo alone."""

import json
import random
import time
from typing import Any

import websocket
from locust import task
from traffic.answers import row_fault
from traffic.callers.caller import AGENTS, CORETELEMETRY, METRICS, Caller


class Console(Caller):
    """Somebody with one WebSocket, who opens another if it breaks."""

    weight = 6
    pauses = (0.2, 1.0)

    def on_start(self) -> None:
        self.socket: Any = None

    def on_stop(self) -> None:
        if self.socket is not None:
            self.socket.close(timeout=1)

    @task
    def ask_newest(self) -> None:
        if self.socket is None:
            self.connect()
        if self.socket is None:
            return
        metric = random.choice(METRICS)
        began, text, fault = time.perf_counter(), "", None
        try:
            self.socket.send(json.dumps({"metric": metric}))
            text = self.socket.recv()
            row = json.loads(text)
            if words := row_fault(row) or (
                None if row.get("metric") == metric else "not the metric asked for"
            ):
                raise ValueError(words)
        except (OSError, websocket.WebSocketException, ValueError) as error:
            fault = error
            self.socket.close(timeout=1)
            self.socket = None
        self.report("WS", "question", (time.perf_counter() - began) * 1000, len(text), fault)

    def connect(self) -> None:
        began, fault = time.perf_counter(), None
        url = f"ws{self.host.removeprefix('http')}{CORETELEMETRY}/demo/data/{random.choice(AGENTS)}/socket"
        try:
            self.socket = websocket.create_connection(url, timeout=self.network_timeout)
        except websocket.WebSocketBadStatusException as error:  # its own words tell every header
            fault = ConnectionError(f"{error.status_code} instead of a handshake")
        except (OSError, websocket.WebSocketException) as error:
            fault = error
        self.report("WS", "open", (time.perf_counter() - began) * 1000, fault=fault)
