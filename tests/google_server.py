"""Google's XML API, over the objects of gcp-storage-emulator, which has the JSON API and little more.

Written after https://cloud.google.com/storage/docs/xml-api/reference-headers: an object has a generation, which a write
or a deletion may name as its condition. Requests are answered one at a time, so a condition and its write are one step.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import escape

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

CONDITION = "x-goog-if-generation-match"  # 0: only if there is no such object


def _known(request: Any, storage: Any) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = storage.get_file_obj(request.params["bucket_name"], request.params["object_id"])
    except NotFound:
        return None
    return known


def _headers(response: Any, known: dict[str, Any]) -> None:
    response["ETag"], response["x-goog-generation"] = f'"{known["etag"]}"', known["generation"]
    response["Last-Modified"] = server.time.strftime(
        "%a, %d %b %Y %H:%M:%S GMT", server.time.strptime(known["updated"][:19], "%Y-%m-%dT%H:%M:%S")
    )


def put(request: Any, response: Any, storage: Any) -> None:
    """Writes an object, on the condition that the request has."""
    known, condition = _known(request, storage), request.get_header(CONDITION)
    if condition is not None and condition != (known["generation"] if known else "0"):
        response.status = HTTPStatus.PRECONDITION_FAILED
        return
    content = request.data if isinstance(request.data, bytes) else b""
    names = request.params["bucket_name"], request.params["object_id"]
    written = objects._make_object_resource(request.base_url, *names, "application/octet-stream", str(len(content)))
    try:
        storage.create_file(*names, content, objects._checksums(content, written))
    except NotFound:
        response.status = HTTPStatus.NOT_FOUND
        return
    _headers(response, written)


def get(request: Any, response: Any, storage: Any) -> None:
    """An object's content, or a part of it."""
    objects.download(request, response, storage)
    if (known := _known(request, storage)) is not None:
        _headers(response, known)


def delete(request: Any, response: Any, storage: Any) -> None:
    """Removes an object."""
    if _known(request, storage) is None:
        response.status = HTTPStatus.NOT_FOUND
    else:
        storage.delete_file(request.params["bucket_name"], request.params["object_id"])
        response.status = HTTPStatus.NO_CONTENT


def listing(request: Any, response: Any, storage: Any) -> None:
    """The objects of a bucket whose names begin so, all on one page."""
    prefix = request.query.get("prefix", [None])[0]
    try:
        found, _ = storage.get_file_list(request.params["bucket_name"], prefix, None, None)
    except NotFound:
        response.status = HTTPStatus.NOT_FOUND
        return
    response["Content-Type"] = "application/xml"
    response.write_file("<ListBucketResult>" + "".join(map(_entry, found)) + "</ListBucketResult>", "application/xml")


def _entry(known: dict[str, Any]) -> str:
    tags = {"Key": known["name"], "LastModified": known["updated"], "ETag": f'"{known["etag"]}"', "Size": known["size"]}
    return f"<Contents>{''.join(f'<{tag}>{escape(str(value))}</{tag}>' for tag, value in tags.items())}</Contents>"


ROUTES = (
    (r"^/(?P<bucket_name>[-.\w]+)/?$", {"GET": listing}),
    (r"^/(?P<bucket_name>[-.\w]+)/(?P<object_id>.+)$", {"GET": get, "PUT": put, "DELETE": delete}),
)


def create(bucket: str) -> tuple[server.Server, str]:
    """A server on loopback with an empty bucket, started; and its address."""
    server.HANDLERS = tuple(each for each in server.HANDLERS if each not in ROUTES)[:-1] + ROUTES
    started = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
    started.start()
    return started, f"http://127.0.0.1:{started._api._httpd.server_port}"
