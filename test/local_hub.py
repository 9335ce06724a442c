"""A hub on this machine: the few endpoints that huggingface_hub needs to push a folder and to load it by name."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_local_test"


class LocalHub:
    """Repositories in memory; each push is a commit. A context manager; :attr:`url` is its ``HF_ENDPOINT``."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        """Repository -> (commit hash, path -> content), oldest first."""
        self.listed: dict[str, list[str]] = {}
        """Repository -> files that are listed but cannot be fetched: a connection that breaks."""
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments: Any) -> None:
                self.hub = hub
                super().__init__(*arguments)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> LocalHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repo: str, changes: dict[str, bytes]) -> str:
        """Add a commit with ``changes`` on top of what is there."""
        history = self.commits.setdefault(repo, [])
        files = {**(history[-1][1] if history else {}), **changes}
        name = hashlib.sha1(f"{repo} {len(history)}".encode()).hexdigest()
        history.append((name, files))
        return name

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit hash and files of a revision: main, or a hash."""
        history = self.commits.get(repo, [])
        return next((c for c in reversed(history) if revision in ("main", c[0])), None)


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._read()

    def do_HEAD(self) -> None:
        self._read()

    def do_POST(self) -> None:
        path, body = urlparse(self.path).path, self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "not logged in"}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            repo = f"datasets/{repo}" if asked.get("type") == "dataset" else repo
            self.hub.commits.setdefault(repo, [])
            self._json({"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})
        elif "/preupload/" in path:
            asked = json.loads(body)["files"]
            modes = [{**f, "uploadMode": _mode(f["path"]), "shouldIgnore": False, "oid": None} for f in asked]
            self._json({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            asked = json.loads(body)["objects"]
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.hub.url}/blob/{o['oid']}", "header": {}}}} for o in asked
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            repo = _repo(path).split("/commit/")[0]
            changes = {}
            for line in body.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    changes[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
                elif item["key"] == "lfsFile":
                    changes[item["value"]["path"]] = self.hub.blobs[item["value"]["oid"]]
            name = self.hub.commit(repo, changes)
            url = f"{self.hub.url}/{repo}/commit/{name}"
            self._json({"success": True, "commitOid": name, "commitUrl": url, "pullRequestUrl": None})
        else:
            self._json({})

    def do_PUT(self) -> None:
        body = self._body()
        oid = hashlib.sha256(body).hexdigest()
        assert self.path.endswith(oid)
        self.hub.blobs[oid] = body
        self._send(200, b"", {})

    def _read(self) -> None:
        url = urlparse(self.path)
        path = unquote(url.path)
        if path.startswith("/api/"):
            repo, _, rest = _repo(path).partition("/revision/")
            repo, _, tree = repo.partition("/tree/")
            found = self._found(repo, rest or tree or "main")
            if found is not None:
                name, files = found
                recursive = [
                    {"type": "file", "path": p, "size": len(b), "oid": _git_oid(b), **_lfs(p, b)}
                    for p, b in files.items()
                ]
                listed = [*files, *self.hub.listed.get(repo, [])]
                recursive += [
                    {"type": "file", "path": p, "size": 1, "oid": _git_oid(b"")} for p in self.hub.listed.get(repo, [])
                ]
                info = {"id": repo, "sha": name, "siblings": [{"rfilename": p} for p in listed], "private": False}
                self._json(recursive if tree else info)
            return
        repo, _, rest = path.strip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        found = self._found(repo, revision)
        if found is None:
            return
        name, files = found
        if file not in files:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        data = files[file]
        self._send(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": name})

    def _found(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if not self.hub.commits.get(repo):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        found = self.hub.files(repo, revision)
        if found is None:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return found

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self._send(status, data, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _repo(path: str) -> str:
    """What follows the kind of repository in a path of the API; datasets keep ``datasets/`` before their name."""
    kind, _, rest = path.removeprefix("/api/").partition("/")
    return f"datasets/{rest}" if kind == "datasets" else rest


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".h5")) else "regular"


def _lfs(path: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha256(data).hexdigest()
    return {"lfs": {"oid": oid, "size": len(data), "pointerSize": 100}} if _mode(path) == "lfs" else {}


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
