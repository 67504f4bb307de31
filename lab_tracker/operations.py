"""The operations that the SDK starts from: every query and every mutation that the tracker knows.

Arguments arrive as keywords in Python's spelling; what a newer SDK adds to them is ignored."""

from collections.abc import Callable, Mapping
from typing import Any

from lab_tracker import artifacts, runs
from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.graphql import TYPENAME, Node, connection, parsed_json
from lab_tracker.limits import MAX_PAGE
from lab_tracker.names import checked_path
from lab_tracker.nodes import Nodes, from_id, to_id

# What the SDK may count on; it falls back to older ways where a feature is not named.
FEATURES = (
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "LARGE_FILENAMES",
)


class Operations:
    """The functions of one request, by the names that GraphQL gives them."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._store = nodes.store

    def roots(self) -> dict[str, dict[str, Callable[..., Any]]]:
        return {
            "query": {
                "viewer": self.viewer,
                "serverInfo": self.server_info,
                "entity": self.entity,
                "organization": lambda **_: None,
                "project": self.project,
                "model": self.project,
                "models": self.projects,
                "artifact": self.artifact,
                "artifactCollection": self.collection,
                "clientIDMapping": self.client_id_mapping,
            },
            "mutation": _with_payload_names(
                {
                    "upsertModel": self.upsert_project,
                    "upsertBucket": self.upsert_run,
                    "deleteRun": self.delete_run,
                    "createRunFiles": self.create_run_files,
                    "deleteFiles": self.delete_files,
                    "createArtifact": self.create_artifact,
                    "createArtifactManifest": self.create_manifest,
                    "updateArtifactManifest": self.update_manifest,
                    "createArtifactFiles": self.create_artifact_files,
                    "commitArtifact": self.commit_artifact,
                    "updateArtifact": self.update_artifact,
                    "useArtifact": self.use_artifact,
                    "addAliases": self.add_aliases,
                    "deleteAliases": self.delete_aliases,
                    "linkArtifact": self.link_artifact,
                    "unlinkArtifact": self.unlink_artifact,
                    "deleteArtifact": self.delete_artifact,
                    "deleteArtifactSequence": self.delete_sequence,
                    "deleteArtifactPortfolio": self.delete_portfolio,
                    "notifyScriptableRunAlert": lambda **_: _payload(success=True),
                }
            ),
        }

    # Queries

    def viewer(self, **_: Any) -> Node:
        return self._nodes.user()

    def server_info(self, **_: Any) -> Node:
        features = [{TYPENAME: "Feature", "name": name, "isEnabled": True} for name in FEATURES]
        return {
            TYPENAME: "ServerInfo",
            "features": features,
            "cliVersionInfo": {},
            "latestLocalVersionInfo": None,
        }

    def entity(self, name: str = runs.ENTITY, **_: Any) -> Node:
        return self._nodes.entity(name or runs.ENTITY)

    def project(self, name: str = "", entity_name: str | None = None, **_: Any) -> Node | None:
        return self._nodes.find_project(entity_name, name)

    def projects(
        self,
        entity_name: str | None = None,
        first: int | None = None,
        after: str | None = None,
        **_: Any,
    ) -> Node:
        found = runs.all_projects(self._store, entity_name)
        return connection(found, self._nodes.project, min(first or MAX_PAGE, MAX_PAGE), after)

    def artifact(self, id: str = "", **_: Any) -> Node:
        row = artifacts.artifact_by_id(self._store, from_id("Artifact", id))
        return self._nodes.artifact(row)

    def collection(self, id: str = "", **_: Any) -> Node:
        row = artifacts.collection_by_id(self._store, from_id("Collection", id))
        return self._nodes.collection(row)

    def client_id_mapping(self, client_id: str = "", **_: Any) -> Node | None:
        query = "SELECT id FROM artifacts WHERE client_id = ?"
        number = self._store.value(query, client_id)
        return number and {TYPENAME: "ClientIDMapping", "serverID": to_id("Artifact", number)}

    # Projects and runs

    def upsert_project(self, name: str = "", entity_name: str | None = None, **_: Any) -> Node:
        is_new = runs.project_of(self._store, entity_name, name) is None
        project = self._nodes.project(runs.make_project(self._store, entity_name, name))
        return _payload(project=project, model=project, inserted=is_new)

    def upsert_run(self, id: str | None = None, **given: Any) -> Node:
        run, is_new = runs.upsert_run(
            self._store,
            from_id("Run", id) if id else None,
            entity=given.pop("entity_name", None),
            project=given.pop("model_name", None),
            summary=given.pop("summary_metrics", None),
            **given,
        )
        return _payload(bucket=self._nodes.run(run), inserted=is_new)

    def delete_run(self, id: str = "", delete_artifacts: bool = False, **_: Any) -> Node:
        runs.delete_run(self._store, from_id("Run", id), bool(delete_artifacts))
        return _payload(success=True)

    def create_run_files(
        self,
        files: list[str],
        run_name: str = "",
        project_name: str = "",
        entity_name: str | None = None,
        **_: Any,
    ) -> Node:
        run = runs.find_run(self._store, entity_name, project_name, run_name)
        made = []
        for name in files:
            url = self._nodes.signer.run_file_url(run["id"], checked_path(name))
            made.append({TYPENAME: "File", "name": name, "uploadUrl": self._nodes.base_url + url})
        return _payload(runID=to_id("Run", run["id"]), uploadHeaders=[], files=made)

    def delete_files(self, files: list[str], **_: Any) -> Node:
        with self._store.write() as db:
            for file in files:
                db.execute("DELETE FROM run_files WHERE id = ?", (from_id("File", file),))
        self._store.free_unused_blobs()
        return _payload(success=True)

    # Artifacts

    def create_artifact(
        self,
        digest: str = "",
        artifact_type_name: str = "",
        artifact_collection_name: str | None = None,
        artifact_collection_names: list[str] | None = None,
        digest_algorithm: str | None = None,
        aliases: list[Mapping[str, Any]] | None = None,
        tags: list[Mapping[str, Any]] | None = None,
        **given: Any,
    ) -> Node:
        names = [artifact_collection_name] if artifact_collection_name else []
        names += artifact_collection_names or []
        if len(names) != 1:
            raise RequestError("An artifact has one collection of its own.")
        if digest_algorithm not in (None, "MANIFEST_MD5"):
            raise RequestError(f"The digest algorithm {digest_algorithm} is not known.")
        metadata = given.get("metadata")
        row = artifacts.create_artifact(
            self._store,
            entity=given.get("entity_name"),
            project=given.get("project_name") or "uncategorized",
            run=given.get("run_name"),
            type_=artifact_type_name,
            name=names[0],
            digest=str(digest),
            aliases=[alias.get("alias") for alias in aliases or ()],
            tags=[str(tag.get("tagName")) for tag in tags or ()],
            metadata=runs.checked_object(metadata, "The metadata") if metadata else None,
            description=given.get("description"),
            client_id=given.get("client_id"),
            history_step=given.get("history_step"),
            ttl_seconds=given.get("ttl_duration_seconds"),
            deduplicate=bool(given.get("enable_digest_deduplication")),
        )
        return _payload(artifact=self._nodes.artifact(row))

    def create_manifest(
        self, artifact_id: str = "", type: str = "FULL", digest: str = "", **_: Any
    ) -> Node:
        if type != "FULL":
            raise RequestError("Incremental and distributed artifacts are not known here.")
        return self._manifest(from_id("Artifact", artifact_id), digest)

    def update_manifest(
        self, artifact_manifest_id: str = "", digest: str | None = None, **_: Any
    ) -> Node:
        return self._manifest(from_id("Manifest", artifact_manifest_id), digest or "")

    def _manifest(self, artifact_id: int, md5: str) -> Node:
        artifacts.announce_manifest(self._store, artifact_id, md5)
        url = self._nodes.base_url + self._nodes.signer.manifest_url(artifact_id)
        file = {
            TYPENAME: "File",
            "id": to_id("ManifestFile", artifact_id),
            "uploadUrl": url,
            "uploadHeaders": [],
        }
        manifest = {
            TYPENAME: "ArtifactManifest",
            "id": to_id("Manifest", artifact_id),
            "file": file,
        }
        return _payload(artifactManifest=manifest)

    def create_artifact_files(self, artifact_files: list[Mapping[str, Any]], **_: Any) -> Node:
        wanted: dict[int, list[tuple[str, str]]] = {}
        for file in artifact_files:
            number = from_id("Artifact", file.get("artifactID"))
            wanted.setdefault(number, []).append((file.get("name"), file.get("md5")))
        for number, files in wanted.items():
            artifacts.announce_files(self._store, number, files)

        def make(file: Mapping[str, Any]) -> Node:
            number, md5 = from_id("Artifact", file["artifactID"]), artifacts.hex_digest(file["md5"])
            url = self._nodes.base_url + self._nodes.signer.artifact_file_url(number, md5)
            return {
                TYPENAME: "File",
                "id": to_id("File", number),
                "name": file["name"],
                "displayName": file["name"],
                "storagePath": f"blobs/{md5}",
                "uploadUrl": None if self._store.has_blob(md5) else url,
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {TYPENAME: "Artifact", "id": file["artifactID"]},
            }

        return _payload(files=connection(list(artifact_files), make, None, None))

    def commit_artifact(self, artifact_id: str = "", **_: Any) -> Node:
        row = artifacts.commit_artifact(self._store, from_id("Artifact", artifact_id))
        return _payload(artifact=self._nodes.artifact(row))

    def update_artifact(self, artifact_id: str = "", **given: Any) -> Node:
        number = from_id("Artifact", artifact_id)
        aliases = given.get("aliases")
        if metadata := given.get("metadata"):
            parsed_json(metadata)
        row = artifacts.update_artifact(
            self._store,
            number,
            description=given.get("description"),
            metadata=metadata,
            aliases=None if aliases is None else self._own_aliases(number, aliases),
            ttl_seconds=given.get("ttl_duration_seconds"),
            tags_to_add=[tag["tagName"] for tag in given.get("tags_to_add") or ()],
            tags_to_delete=[tag["tagName"] for tag in given.get("tags_to_delete") or ()],
        )
        return _payload(artifact=self._nodes.artifact(row))

    def _own_aliases(self, artifact_id: int, aliases: list[Mapping[str, Any]]) -> list[str]:
        """The aliases that are meant for the artifact's own sequence."""
        row = artifacts.artifact_by_id(self._store, artifact_id)
        name = artifacts.collection_by_id(self._store, row["sequence_id"])["name"]
        return [a["alias"] for a in aliases if a.get("artifactCollectionName") == name]

    def use_artifact(
        self,
        artifact_id: str = "",
        run_name: str = "",
        project_name: str = "",
        entity_name: str | None = None,
        used_as: str | None = None,
        **_: Any,
    ) -> Node:
        run = runs.find_run(self._store, entity_name, project_name, run_name)
        number = from_id("Artifact", artifact_id)
        artifacts.use_artifact(self._store, run, number, used_as)
        return _payload(artifact=self.artifact(artifact_id))

    def add_aliases(self, aliases: list[Any], artifact_id: str = "", **_: Any) -> Node:
        number = from_id("Artifact", artifact_id)
        artifacts.change_aliases(self._store, number, aliases, add=True)
        return _payload(success=True)

    def delete_aliases(self, aliases: list[Any], artifact_id: str = "", **_: Any) -> Node:
        number = from_id("Artifact", artifact_id)
        artifacts.change_aliases(self._store, number, aliases, add=False)
        return _payload(success=True)

    def link_artifact(
        self,
        artifact_portfolio_name: str = "",
        project_name: str = "",
        entity_name: str | None = None,
        aliases: list[Mapping[str, Any]] | None = None,
        artifact_id: str | None = None,
        client_id: str | None = None,
        **_: Any,
    ) -> Node:
        if artifact_id:
            row = artifacts.artifact_by_id(self._store, from_id("Artifact", artifact_id))
        else:
            row = self._store.row("SELECT * FROM artifacts WHERE client_id = ?", client_id)
        if not row:
            raise NotFoundError("The artifact to link is not there.")
        member = artifacts.link_artifact(
            self._store,
            row,
            entity_name,
            project_name,
            artifact_portfolio_name,
            [alias.get("alias") for alias in aliases or ()],
        )
        return _payload(
            versionIndex=member["version_index"], artifactMembership=self._nodes.member(member)
        )

    def unlink_artifact(
        self, artifact_id: str = "", artifact_portfolio_id: str = "", **_: Any
    ) -> Node:
        collection_id = from_id("Collection", artifact_portfolio_id)
        artifacts.unlink_artifact(self._store, from_id("Artifact", artifact_id), collection_id)
        return _payload(success=True)

    def delete_artifact(
        self, artifact_id: str = "", delete_aliases: bool = False, **_: Any
    ) -> Node:
        number = from_id("Artifact", artifact_id)
        artifacts.delete_artifact(self._store, number, bool(delete_aliases))
        return _payload(artifact={TYPENAME: "Artifact", "id": artifact_id, "state": "DELETED"})

    def delete_sequence(self, artifact_sequence_id: str = "", **_: Any) -> Node:
        return self._delete_collection(artifact_sequence_id, "ArtifactSequence")

    def delete_portfolio(self, artifact_portfolio_id: str = "", **_: Any) -> Node:
        return self._delete_collection(artifact_portfolio_id, "ArtifactPortfolio")

    def _delete_collection(self, id: str, typename: str) -> Node:
        artifacts.delete_collection(self._store, from_id("Collection", id))
        return _payload(artifactCollection={TYPENAME: typename, "state": "DELETED"})


def _payload(**fields: Any) -> Node:
    return {TYPENAME: "Payload", **fields}


def _with_payload_names(
    functions: dict[str, Callable[..., Node]],
) -> dict[str, Callable[..., Node]]:
    """The functions of mutations, whose answers get their GraphQL type: `createArtifact` gives a
    `CreateArtifactPayload`, and the SDK has a fragment on that."""

    def named(name: str, function: Callable[..., Node]) -> Callable[..., Node]:
        typename = f"{name[0].upper()}{name[1:]}Payload"
        return lambda **arguments: function(**arguments) | {TYPENAME: typename}

    return {name: named(name, function) for name, function in functions.items()}
