"""Requests as LIT's client makes them."""

from typing import Any

from werkzeug.test import Client


def ask(
    client: Client, path: str, inputs: list | None = None, config: dict | None = None, **query: str
) -> Any:
    response = client.post(
        path, query_string=query, json={"inputs": inputs or [], "config": config}
    )
    assert response.status_code == 200, response.text
    return response.json


def ids_of(client: Client, name: str) -> list[str]:
    return [example["id"] for example in ask(client, "/get_dataset", dataset_name=name)]
