"""A model hub on the loopback interface, answering as the real one does where huggingface_hub looks.

Large files are answered with a redirect to another host, as the real hub does, and their ETag is their sha256; small
ones have a git-like ETag of 40 digits.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".safetensors", ".bin", ".model")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_STORED = re.compile(r"/stored/([^/]+/[^/]+)/(.+)")


class FakeHub:
    """What the server holds and how it misbehaves; a test changes the attributes at any time.

    `repos` maps id -> file name -> bytes, `commits` maps an id to its one commit, where a test cares for it, `gated`
    holds ids, `damage` maps a file name to what is sent instead of it, `requests` lists every request as "METHOD path".
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.gated: set[str] = set()
        self.damage: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.endpoint = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if match := _STORED.fullmatch(path):
            repo, name = match.groups()
            data = self.repos[repo][name]
            return 200, {"ETag": f'"{_etag(name, data)}"'}, self.damage.get(name, data)
        match = _RESOLVE.fullmatch(path)
        repo, revision, name = match.groups() if match else ("", "", "")
        if repo not in self.repos:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        commit = {"X-Repo-Commit": self.commit(repo)}
        if revision not in ("main", commit["X-Repo-Commit"]):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if name not in self.repos[repo]:
            return 404, {"X-Error-Code": "EntryNotFound", **commit}, b""
        data = self.repos[repo][name]
        if not name.endswith(LARGE):
            return 200, {"ETag": f'"{_etag(name, data)}"', **commit}, self.damage.get(name, data)
        linked = {"X-Linked-Etag": f'"{_etag(name, data)}"', "X-Linked-Size": str(len(data))}
        location = self.endpoint.replace("127.0.0.1", "localhost") + f"/stored/{repo}/{name}"
        return 302, {"Location": location, **linked, **commit}, b""

    def commit(self, repo: str) -> str:
        """The commit that a model's branch main is at."""
        return self.commits.get(repo) or hashlib.sha1(repo.encode()).hexdigest()


def _etag(name: str, data: bytes) -> str:
    return (hashlib.sha256 if name.endswith(LARGE) else hashlib.sha1)(data).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            """Silent: the tests look at `requests`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
