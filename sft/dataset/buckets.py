"""Rows and images of a bucket (S3, and what speaks like it: R2, Google's with HMAC keys, MinIO), by boto3.

Every object is fetched by the ETag that the listing names (If-Match): what changes meanwhile is refused, never mixed.
Keys come from the environment or the machine's role, as boto3 finds them; without any the bucket is asked as a public
one. The service's address is the provider's, or the one that the user's configuration names: rows name objects below
the dataset's folder and nothing else, so that no row can lead into another network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sft.errors import DatasetError, InputError, TransientError

GOOGLE = "https://storage.googleapis.com"  # its XML API speaks S3's language with HMAC keys
AT_ONCE = 32  # objects fetched at the same time
CHUNK = 1 << 20  # bytes
SECRET = "modal secret create bucket AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… (on one machine: export them)"
_REFUSED = {"403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_MISSING = {"404", "NoSuchBucket", "NoSuchKey", "NotFound"}
_CHANGED = {"412", "PreconditionFailed"}


@dataclass(frozen=True)
class Object:
    """An object of a bucket: ``size`` in bytes, ``etag`` names the version of its content."""

    key: str
    size: int
    etag: str


class Bucket:
    """One bucket.

    Args:
        scheme: s3, gs or r2.
        endpoint: the service's address, empty for the provider's own.
    Raises:
        InputError: R2 without an address.
    """

    def __init__(self, scheme: str, name: str, endpoint: str = "") -> None:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        if scheme == "r2" and not endpoint:
            remedy = "--set dataset.endpoint=https://ACCOUNT.r2.cloudflarestorage.com"
            raise InputError("an R2 bucket has an address of its account", where="dataset.endpoint", remedy=remedy)
        self.name, self.address = name, f"{scheme}://{name}"
        session = boto3.session.Session()
        known = session.get_credentials() is not None
        region = session.region_name or ("auto" if scheme in ("r2", "gs") else "us-east-1")
        options: dict[str, Any] = {} if known else {"signature_version": UNSIGNED}
        config = Config(max_pool_connections=AT_ONCE, retries={"mode": "standard", "max_attempts": 5}, **options)
        where = endpoint or (GOOGLE if scheme == "gs" else None)
        self._client = session.client("s3", endpoint_url=where, region_name=region, config=config)

    def look(self, key: str) -> Object:
        """One object.

        Raises:
            DatasetError: there is none.
            InputError: the keys are missing or may not read it.
            TransientError: the service cannot be reached.
        """
        with _translated(f"{self.address}/{key}"):
            said = self._client.head_object(Bucket=self.name, Key=key)
        return Object(key, int(said["ContentLength"]), str(said["ETag"]))

    def list(self, folder: str) -> Iterator[Object]:
        """The objects below a folder, by pages of a thousand.

        Raises:
            InputError, TransientError: see :meth:`look`.
        """
        prefix = f"{folder}/" if folder else ""
        with _translated(f"{self.address}/{prefix}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield Object(entry["Key"], int(entry["Size"]), str(entry["ETag"]))

    def fetch(self, found: Object, target: Path, most: int) -> None:
        """Copy an object to a file, which is whole once it has its name.

        Args:
            most: bytes at most.
        Raises:
            DatasetError: it is larger, or gone.
            TransientError: it has changed since it was listed, or the connection broke.
        """
        where = f"{self.address}/{found.key}"
        if found.size > most:
            raise DatasetError(
                "an object is larger than allowed", where=where, value=f"{found.size} bytes", remedy=LARGE
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, written = target.with_name(f".{target.name}.{os.getpid()}"), 0
        with _translated(where):
            body = self._client.get_object(Bucket=self.name, Key=found.key, IfMatch=found.etag)["Body"]
            with temporary.open("wb") as file:
                for chunk in body.iter_chunks(CHUNK):
                    written += file.write(chunk)
                    if written > found.size:
                        break
        if written != found.size:
            temporary.unlink()
            raise TransientError("an object came with another size than it was listed with", where=where)
        temporary.replace(target)

    def fetch_all(self, objects: dict[str, Object], folder: Path, most: int) -> Iterator[int]:
        """Copy objects to their names below a folder; files that are there with their size are kept. Yields how many
        are done.

        Raises:
            DatasetError, InputError, TransientError: see :meth:`fetch`; what has arrived is kept.
        """

        def one(entry: tuple[str, Object]) -> None:
            target = folder / entry[0]
            if not (target.is_file() and target.stat().st_size == entry[1].size):
                self.fetch(entry[1], target, most)

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for done, _ in enumerate(pool.map(one, objects.items()), 1):
                yield done
        finally:
            pool.shutdown(cancel_futures=True)


LARGE = "raise dataset.max_image_bytes if it is an image as it should be"


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """boto3's exceptions as ours."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise DatasetError("no such object or bucket", where=where, remedy="correct dataset.train") from error
        if code in _REFUSED:
            raise InputError("the bucket may not be read with these keys", where=where, remedy=SECRET) from error
        said = "the object changed while it was fetched" if code in _CHANGED else f"the bucket answers {code}"
        raise TransientError(said, where=where, remedy="run again: what has arrived is kept") from error
    except (BotoCoreError, HTTPError) as error:
        remedy = "check the connection, or dataset.endpoint"
        raise TransientError(f"the bucket cannot be reached: {error}", where=where, remedy=remedy) from error
