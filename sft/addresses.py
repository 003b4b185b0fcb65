"""Addresses of images in messages: without what is secret in them; and what fetches those that are not http."""

from __future__ import annotations

from urllib.parse import urlsplit

FETCHED = ("http", "https")
# What copies from addresses that are none of those.
TOOLS = {
    "s3": "aws s3 cp --recursive",
    "gs": "gcloud storage cp -r",
    "az": "azcopy copy",
    "abfs": "azcopy copy",
    "hf": "hf download",
    "oss": "ossutil cp -r",
    "ftp": "wget -r",
    "file": "give the path itself",
}
# The same for the images of a dataset.
OTHERS = {
    **{scheme: TOOLS[scheme] for scheme in ("az", "oss", "ftp")},
    "s3": f"{TOOLS['s3']} s3://BUCKET/FOLDER .",
    "gs": f"{TOOLS['gs']} gs://BUCKET/FOLDER .",
    "hf": f"{TOOLS['hf']} --repo-type dataset OWNER/NAME --local-dir .",
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
