"""A tracker in a process that can be killed, and a plain HTTP client that speaks to it as the SDK
does, one request at a time, so that a test can stop between any two."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab_tracker.server import TrackingServer
from text_recognizer.places import project_folder


class Refused(Exception):
    """The server's answer is an error."""


class ServerProcess:
    """`python -m lab_tracker` over `folder`."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        path = os.pathsep.join([str(project_folder()), os.environ.get("PYTHONPATH", "")])
        command = ["-m", "lab_tracker", "--folder", str(folder), "--port", str(port)]
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path.rstrip(os.pathsep)},
        )
        self.pid = self._process.pid
        printed = "".join(self._process.stdout.readline() for _ in range(5))
        self.url, self.key = re.findall(r"WANDB_(?:BASE_URL|API_KEY)=(\S+)", printed)
        self.port = urlsplit(self.url).port

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def running(folder: Path) -> Iterator["Client"]:
    """A client, with a run, of a tracker in this process: `client.server`."""
    server = TrackingServer(folder)
    server.start()
    client = Client(server.url, server.key)
    client.server = server
    client.run()
    yield client
    server.stop()


class Client:
    """Requests to the tracker at `url`. Raises Refused for errors, OSError where it is gone."""

    def __init__(self, url: str, key: str) -> None:
        self.address = urlsplit(url).netloc
        pair = base64.b64encode(f"api:{key}".encode()).decode()
        self.headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body); the path may be a whole URL."""
        path = path.split(self.address, 1)[-1]
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, self.headers if headers is None else headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, names, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def graphql(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """The data of an answer."""
        body = json.dumps({"query": query, "variables": variables})
        status, _, answer = self.request("POST", "/graphql", body)
        if status != 200:
            raise Refused(f"{status} {answer.decode()}")
        found = json.loads(answer)
        if found.get("errors"):
            raise Refused(found["errors"][0]["message"])
        return found["data"]

    def mutate(self, name: str, fields: str, /, **given: Any) -> dict[str, Any]:
        """The payload of a mutation with these input fields."""
        capital = name[0].upper() + name[1:]
        query = f"mutation {capital}($input: {capital}Input!) {{ {name}(input: $input) {fields} }}"
        return self.graphql(query, input=given)[name]

    def put(self, url: str, content: bytes) -> None:
        status, _, answer = self.request("PUT", url, content, headers={})
        if status != 200:
            raise Refused(f"{status} {answer.decode()}")

    def run(self, name: str = "run", project: str = "p") -> str:
        """Makes a run, or resumes it; returns its id."""
        fields = "{ bucket { id } }"
        made = self.mutate("upsertBucket", fields, modelName=project, name=name)
        return made["bucket"]["id"]

    def stream(self, run: str, project: str = "p", **chunk: Any) -> None:
        """Sends a chunk of a run's stream."""
        path = f"/files/lab/{project}/{run}/file_stream"
        status, _, answer = self.request("POST", path, json.dumps(chunk))
        if status != 200:
            raise Refused(f"{status} {answer.decode()}")

    def draft(self, name: str, files: dict[str, bytes], **options: Any) -> "Draft":
        """A draft of an artifact with these files, of which nothing is uploaded yet."""
        return Draft(self, name, files, **options)

    def log(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """Logs an artifact whole; returns its id."""
        draft = self.draft(name, files, **options)
        if draft.state == "PENDING":
            for path in files:
                draft.upload(path)
            draft.upload_manifest()
            draft.commit()
        return draft.id

    def versions(self, name: str, type: str = "model", project: str = "p") -> dict[str, dict]:
        """The versions of an artifact by name: id, digest, aliases, files."""
        query = """query V($project: String!, $type: String!, $name: String!) {
            project(name: $project) { artifactType(name: $type) { artifactCollection(name: $name) {
                artifacts { edges { version node { id digest state size aliases { alias }
                    files { edges { node { displayName directUrl md5 } } } } } } } } } }"""
        found = self.graphql(query, project=project, type=type, name=name)["project"]
        type_node = found and found["artifactType"]
        collection = type_node and type_node["artifactCollection"]
        edges = collection["artifacts"]["edges"] if collection else []
        return {
            edge["version"]: edge["node"]
            | {
                "aliases": {alias["alias"] for alias in edge["node"]["aliases"]},
                "files": [file["node"] for file in edge["node"]["files"]["edges"]],
            }
            for edge in edges
        }


class Draft:
    """An artifact on its way, step by step as the SDK takes them."""

    def __init__(
        self,
        client: Client,
        name: str,
        files: dict[str, bytes],
        run: str = "run",
        project: str = "p",
        aliases: tuple[str, ...] = (),
        type: str = "model",
        metadata: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        self.client, self.files = client, files
        contents = {
            path: {"digest": md5(content), "size": len(content)} for path, content in files.items()
        } | changes.pop("contents", {})
        self.manifest = json.dumps({"version": 1, "contents": contents}).encode()
        self.where = {"entityName": "lab", "projectName": project, "runName": run}
        made = client.mutate(
            "createArtifact",
            "{ artifact { id state } }",
            artifactTypeName=type,
            metadata=json.dumps(metadata or {}),
            artifactCollectionName=name,
            digest=changes.pop("digest", artifact_digest(contents)),
            aliases=[{"alias": alias, "artifactCollectionName": name} for alias in aliases],
            enableDigestDeduplication=True,
            **self.where,
        )["artifact"]
        self.id, self.state = made["id"], made["state"]

    def upload_url(self, path: str) -> str | None:
        """Where a file is to be sent; None where the server has its bytes already."""
        spec = {"artifactID": self.id, "name": path, "md5": md5(self.files[path])}
        fields = "{ files { edges { node { uploadUrl } } } }"
        made = self.client.mutate("createArtifactFiles", fields, artifactFiles=[spec])
        return made["files"]["edges"][0]["node"]["uploadUrl"]

    def upload(self, path: str) -> None:
        if url := self.upload_url(path):
            self.client.put(url, self.files[path])

    def manifest_url(self) -> str:
        made = self.client.mutate(
            "createArtifactManifest",
            "{ artifactManifest { file { uploadUrl } } }",
            artifactID=self.id,
            name="wandb_manifest.json",
            digest=md5(self.manifest),
            type="FULL",
            **self.where,
        )
        return made["artifactManifest"]["file"]["uploadUrl"]

    def upload_manifest(self) -> None:
        self.client.put(self.manifest_url(), self.manifest)

    def commit(self) -> None:
        self.client.mutate("commitArtifact", "{ artifact { id } }", artifactID=self.id)


def md5(content: bytes) -> str:
    """In base64, as the SDK writes it."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def artifact_digest(contents: dict[str, dict]) -> str:
    """The digest of an artifact from the contents of its manifest."""
    text = "".join(f"{path}:{contents[path].get('digest')}\n" for path in sorted(contents))
    return hashlib.md5(f"wandb-artifact-manifest-v1\n{text}".encode()).hexdigest()
