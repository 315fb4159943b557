"""A small OpenAI-compatible server on this machine that keeps count, and misbehaves when it is told to."""

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("429", "500", "timeout", "reset", "empty", "no_choices", "null", "malformed", "half")
# What one answer is said to take.
PROMPT_TOKENS, COMPLETION_TOKENS = 20, 10


class Server:
    """Answers `/v1/chat/completions` until closed.

    `plan(item, attempt, request)` says what to do: None for a whole good answer, one of FAULTS, or a tuple
    (status, body, headers) to send as it is. `item` is the first `item N` in the messages.
    """

    def __init__(self, plan=lambda item, attempt, request: None, answer="I can't help with that.", delay=0.0):
        self.plan, self.answer, self.delay = plan, answer, delay
        self.received, self.delivered, self.worked_on = Counter(), Counter(), Counter()
        self.times, self.requests, self.under_way, self.most_under_way = [], [], 0, 0
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()

    def settled(self):
        """Wait until no request is under way, so that the counts are whole."""
        while self.under_way:
            time.sleep(0.01)

    def forget(self):
        """Count from nothing again."""
        self.settled()
        for counter in (self.received, self.delivered, self.worked_on):
            counter.clear()
        self.times.clear()
        self.requests.clear()


def misbehaving(share, seed=0):
    """A plan that fails a share of all requests, in every way, the same ones each time.

    Time-outs come to few items, so that a test can give the others time enough for a machine that is busy elsewhere.
    """

    def plan(item, attempt, request):
        if item % 25 == 3 and attempt == 1:
            return "timeout"
        chance = random.Random(f"{seed}/{item}/{attempt}")
        return chance.choice([fault for fault in FAULTS if fault != "timeout"]) if chance.random() < share else None

    return plan


def completion(answer, model="small"):
    return {
        "id": "x",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS},
    }


def handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            request["authorization"] = self.headers.get("authorization")
            found = re.search(r"item (\d+)", request["messages"][-1]["content"])
            item = int(found[1]) if found else 0
            with server.lock:
                server.received[item] += 1
                attempt = server.received[item]
                server.requests.append(request)
                server.times.append(time.time())
                server.under_way += 1
                server.most_under_way = max(server.most_under_way, server.under_way)
            try:
                time.sleep(server.delay)
                self.act(server.plan(item, attempt, request), item, request)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with server.lock:
                    server.under_way -= 1

        def act(self, what, item, request):
            good = json.dumps(
                completion(server.answer if isinstance(server.answer, str) else server.answer(item, request))
            )
            if what is None or what in ("timeout", "reset", "half", "malformed", "null", "no_choices", "empty"):
                server.worked_on[item] += 1
            if what is None:
                self.reply(200, good)
                server.delivered[item] += 1
            elif what == "429":
                self.reply(429, '{"error": {"message": "slow down"}}', {"Retry-After": "0.02"})
            elif what == "500":
                self.reply(500, "<html>oops</html>")
            elif what == "timeout":
                self.wait_for_the_client_to_leave()
            elif what == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif what == "empty":
                self.reply(200, "")
            elif what == "no_choices":
                self.reply(200, '{"choices": []}')
            elif what == "null":
                self.reply(200, json.dumps(completion(None)))
            elif what == "malformed":
                self.reply(200, good[:-9])
            elif what == "half":
                self.reply(200, good[: len(good) // 2], {"Content-Length": str(len(good))})
                self.close_connection = True
            elif what == "drip":
                self.reply(200, "", {"Content-Length": "100000"})
                while not server.closing.wait(0.1):
                    self.wfile.write(b" ")
                    self.wfile.flush()
            else:
                self.reply(*what)

        def wait_for_the_client_to_leave(self):
            self.connection.settimeout(30)
            self.connection.recv(1)
            self.close_connection = True

        def reply(self, status, body, headers=None):
            data = body.encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

    return Handler
