"""Addresses of images in messages: without what is secret in them; and what fetches those that are not http."""

from __future__ import annotations

from urllib.parse import urlsplit

FETCHED = ("http", "https")
OTHERS = {
    "s3": "aws s3 cp --recursive s3://BUCKET/FOLDER .",
    "gs": "gcloud storage cp -r gs://BUCKET/FOLDER .",
    "az": "azcopy copy",
    "hf": "hf download --repo-type dataset OWNER/NAME --local-dir .",
    "oss": "ossutil cp -r",
    "ftp": "wget -r",
    "file": "write the path itself, relative to the dataset file",
}


def shown(address: str) -> str:
    """The address without its query, fragment and user: a signed one holds a key there."""
    if "://" not in address:
        return address
    parts = urlsplit(address.replace("\\", "/"))
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?…" if parts.query else "")


def scheme(address: str) -> str:
    """The scheme, in lower case; empty of a path."""
    return address.partition("://")[0].lower() if "://" in address else ""
