"""A session on a server that may have other models and data than the one that wrote it."""

import json
from typing import Any, Mapping, Optional, Protocol

from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.session.session import Session, versions


class Desk(Protocol):
    """What a server has; see `lit_tl.server.sessions.SessionDesk`."""

    def model(self, label: str) -> Optional[HookedTransformerLIT]:
        """A model by its label."""

    def labels(self) -> list[str]:
        """Of all models."""

    def weights(self, model: HookedTransformerLIT) -> str:
        """A digest of its weights."""

    def variant(self, config: dict[str, Any]) -> str:
        """Makes a variant; its label."""

    def data_set(self, data: Mapping[str, Any]) -> tuple[str, str, dict[str, str]]:
        """A session's data set here; see `SessionDesk.data_set`."""


class Opening:
    """One session, on one server.

    Args:
        desk: what the server has.
        session: to be shown.
        page: that shows it, which variants are made for.
    """

    def __init__(self, desk: Desk, session: Session, page: str):
        self._desk, self._session, self._page = desk, session, page
        self._said: list[str] = []
        self._labels: dict[str, str] = {}
        self._sets: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def result(self) -> dict[str, Any]:
        """What the page gets."""
        content = self._session.content
        self._compare_versions(content["written"]["versions"])
        for model in self._session.models:
            self._find_model(model)
        for data in self._session.data:
            try:
                label, said, ids = self._desk.data_set(data)
            except ValueError as error:
                self._said.append(f"The data set {data['label']} can't be shown: {error}.")
                continue
            self._sets[data["label"]] = label
            self._ids |= ids
            self._said += [said] if said else []
        page = content["page"]
        return {
            "title": self._session.title,
            "query": self._query(page["query"]),
            "panels": self._panels(page["panels"]),
            "drafts": {self._id(k): value for k, value in (page.get("drafts") or {}).items()},
            "pairs": {self._id(key): value for key, value in (page.get("pairs") or {}).items()},
            "added": self._added(),
            "figures": list(self._session.figures),
            "notes": {self._id(key): text for key, text in self._session.notes.items()},
            "said": self._said,
        }

    def _compare_versions(self, then: Mapping[str, str]) -> None:
        now = versions()
        other = [
            f"{name} {then[name]} (here {now[name]})"
            for name in now
            if name in then and then[name] != now[name]
        ]
        if other:
            self._said.append(
                f"Written with {', '.join(other)}: numbers may differ in their last digits."
            )

    def _find_model(self, described: Mapping[str, Any]) -> None:
        label, changes = described["label"], list(described.get("changes") or [])
        original = described.get("original") or ""
        if changes and original:
            self._make_variant(label, original, changes)
            return
        alike = [
            each
            for each in self._desk.labels()
            if (model := self._desk.model(each)) is not None
            and self._desk.weights(model) == described["weights"]
            and [str(change) for change in model.loaded.changes] == changes
        ]
        if alike:
            self._labels[label] = label if label in alike else alike[0]
        elif label in self._desk.labels():
            self._labels[label] = label
            self._said.append(f"The model {label} has other weights here than in the session.")
        else:
            source = (described.get("source") or {}).get("model_name") or "made elsewhere"
            self._said.append(
                f"The model {label} ({source}) is not on this server: start it with --models, or "
                "load it in Configure, and open the session again."
            )
            return
        self._compare_settings(self._labels[label], described.get("settings") or {})

    def _compare_settings(self, label: str, then: Mapping[str, Any]) -> None:
        model = self._desk.model(label)
        now = model.config.changed() if model is not None else {}
        plain = json.loads(json.dumps(now, default=str))
        other = sorted(name for name in {*then, *plain} if then.get(name) != plain.get(name))
        if other:
            self._said.append(
                f"The model {label} has other settings here: "
                + ", ".join(f"{name} was {then.get(name, 'the default')}" for name in other)
                + "."
            )

    def _make_variant(self, label: str, original: str, changes: list[str]) -> None:
        here = self._labels.get(original)
        if here is None:
            self._said.append(f"The variant {label} needs the model {original}, which is missing.")
            return
        asked = {"original": here, "changes": changes, "name": label, "page": self._page}
        try:
            self._labels[label] = self._desk.variant(asked)
        except ValueError as error:
            self._said.append(f"The variant {label} can't be made here: {error}.")

    def _id(self, old: str) -> str:
        return self._ids.get(old, old)

    def _query(self, query: Mapping[str, str]) -> dict[str, str]:
        new = {name: value for name, value in query.items() if not name.startswith("data")}
        labels = [
            self._labels[each]
            for each in query.get("models", "").split(",")
            if each in self._labels
        ]
        new.pop("models", None)
        if labels:
            new["models"] = ",".join(labels)
        if query.get("dataset") in self._sets:
            new["dataset"] = self._sets[query["dataset"]]
        else:
            new.pop("dataset", None)
        for name in ("selection", "primary", "pinned"):
            if name in query:
                new[name] = ",".join(self._id(each) for each in query[name].split(","))
        return new

    def _panels(self, panels: Mapping[str, Any]) -> dict[str, Any]:
        new: dict[str, Any] = {}
        for key, value in panels.items():
            name, *rest = key.split(":")
            if rest and rest[0] in self._labels:
                rest[0] = self._labels[rest[0]]
            new[":".join([name, *rest])] = value
        if isinstance(panels.get("Variants"), Mapping):
            new["Variants"] = {
                self._labels[label]: {
                    **about,
                    "original": self._labels.get(str(about.get("original")), ""),
                }
                for label, about in panels["Variants"].items()
                if label in self._labels and isinstance(about, Mapping)
            }
        return new

    def _added(self) -> list[dict[str, Any]]:
        added = []
        for data in self._session.data[:1]:
            for each in data["examples"]:
                meta = each.get("meta") or {}
                if meta.get("added") and data["label"] in self._sets:
                    parent = self._id(str(meta.get("parentId") or ""))
                    added.append({**each, "meta": {**meta, "parentId": parent}})
        return added
