"""A tracker in a process that can be killed, and a plain HTTP client that speaks to it as the SDK
does, one request at a time, so that a test can stop between any two."""

import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from lab_tracker.server import TrackingServer
from lab_utils.net import http_client
from text_recognizer.places import project_folder


class Refused(Exception):
    """The server's answer is an error."""


def path_with(*folders: str) -> dict[str, str]:
    """The environment in which a Python process finds the project."""
    known = [*folders, str(project_folder()), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, known))}


def printed_by(server: subprocess.Popen) -> list[str]:
    """The address and the key that a tracker prints at its start."""
    printed = "".join(server.stdout.readline() for _ in range(5))
    return re.findall(r"WANDB_(?:BASE_URL|API_KEY)=(\S+)", printed)


class ServerProcess:
    """`python -m lab_tracker` over `folder`."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "lab_tracker", "--folder", folder, "--port", str(port)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=path_with()
        )
        self.pid = self._process.pid
        self.url, self.key = printed_by(self._process)
        self.port = httpx.URL(self.url).port

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
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
    """Requests to the tracker at `url`, with a project `p` and its run `run` unless others are
    named. Raises Refused for errors, httpx.TransportError where it is gone."""

    def __init__(self, url: str, key: str) -> None:
        self.http = http_client(30, local=True, base_url=url, auth=("api", key))

    def graphql(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """The data of an answer."""
        body = {"query": query, "variables": variables}
        answer = accepted(self.http.post("/graphql", json=body)).json()
        if answer.get("errors"):
            raise Refused(answer["errors"][0]["message"])
        return answer["data"]

    def mutate(self, name: str, fields: str, /, **given: Any) -> dict[str, Any]:
        """The payload of a mutation with these input fields."""
        capital = name[0].upper() + name[1:]
        query = f"mutation {capital}($input: {capital}Input!) {{ {name}(input: $input) {fields} }}"
        return self.graphql(query, input=given)[name]

    def of_run(self, selection: str, run: str = "run", **variables: Any) -> dict[str, Any]:
        """Fields of a run; `variables` are lists of JSON texts."""
        declared = f"({', '.join(f'${name}: [JSONString!]' for name in variables)})"
        query = f'project(name: "p") {{ run(name: "{run}") {{ {selection} }} }}'
        data = self.graphql(f"query Q{declared if variables else ''} {{ {query} }}", **variables)
        return data["project"]["run"]

    def put(self, url: str, content: bytes) -> None:
        accepted(self.http.put(url, content=content, auth=None))

    def get(self, url: str) -> bytes:
        return accepted(self.http.get(url, auth=None)).content

    def run(self, name: str = "run", project: str = "p") -> str:
        """Makes a run, or resumes it; returns its id."""
        made = self.mutate("upsertBucket", "{ bucket { id } }", modelName=project, name=name)
        return made["bucket"]["id"]

    def stream(self, run: str = "run", **chunk: Any) -> None:
        """Sends a chunk of a run's stream."""
        accepted(self.http.post(f"/files/lab/p/{run}/file_stream", json=chunk))

    def log(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """Logs an artifact whole; returns its id."""
        draft = Draft(self, name, files, **options)
        if draft.state == "PENDING":
            for path in files:
                draft.upload(path)
            draft.upload_manifest()
            draft.commit()
        return draft.id

    def delete(self, artifact: str) -> None:
        fields = {"artifactID": artifact, "deleteAliases": True}
        self.mutate("deleteArtifact", "{ artifact { id } }", **fields)

    def versions(self, name: str, project: str = "p") -> dict[str, dict]:
        """The versions of an artifact by name: id, state, aliases, files."""
        query = """query V($project: String!, $name: String!) {
            project(name: $project) { artifactCollection(name: $name) {
                artifacts { edges { version node { id state aliases { alias }
                    files { edges { node { displayName directUrl } } } } } } } } }"""
        found = self.graphql(query, project=project, name=name)["project"]
        collection = found and found["artifactCollection"]
        versions = {}
        for edge in collection["artifacts"]["edges"] if collection else []:
            node = versions[edge["version"]] = edge["node"]
            node["aliases"] = {alias["alias"] for alias in node["aliases"]}
            node["files"] = [file["node"] for file in node["files"]["edges"]]
        return versions


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
        contents: dict[str, Any] | None = None,
        digest: str | None = None,
    ) -> None:
        self.client, self.files = client, files
        contents = contents or {
            path: {"digest": md5(content), "size": len(content)} for path, content in files.items()
        }
        self.manifest = json.dumps({"version": 1, "contents": contents}).encode()
        self.where = {"entityName": "lab", "projectName": project, "runName": run}
        made = client.mutate(
            "createArtifact",
            "{ artifact { id state } }",
            artifactTypeName=type,
            metadata=json.dumps(metadata or {}),
            artifactCollectionNames=[name],
            digest=digest or artifact_digest(contents),
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

    def upload_manifest(self, content: bytes | None = None) -> None:
        """Sends the manifest, or other bytes in its place."""
        made = self.client.mutate(
            "createArtifactManifest",
            "{ artifactManifest { file { uploadUrl } } }",
            artifactID=self.id,
            name="wandb_manifest.json",
            digest=md5(self.manifest),
            type="FULL",
            **self.where,
        )
        url = made["artifactManifest"]["file"]["uploadUrl"]
        self.client.put(url, content or self.manifest)

    def commit(self) -> None:
        self.client.mutate("commitArtifact", "{ artifact { id } }", artifactID=self.id)


def accepted(answer: httpx.Response) -> httpx.Response:
    """An answer that is no error."""
    if answer.status_code != 200:
        raise Refused(f"{answer.status_code} {answer.text}")
    return answer


def md5(content: bytes) -> str:
    """In base64, as the SDK writes it."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def artifact_digest(contents: dict[str, dict]) -> str:
    """The digest of an artifact from the contents of its manifest."""
    text = "".join(f"{path}:{contents[path].get('digest')}\n" for path in sorted(contents))
    return hashlib.md5(f"wandb-artifact-manifest-v1\n{text}".encode()).hexdigest()
