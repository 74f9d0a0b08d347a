"""Opens the object store that an address names: S3, Google or Azure, with the credentials that this machine has.

    s3://BUCKET/PATH    abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH
    gs://BUCKET/PATH    any of them with ?endpoint_override=HOST:PORT&scheme=http and the like

Ray's workers open the same address with pyarrow, so it is read as pyarrow reads it, options included. Knows no study.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

OPTIONS = {  # those that pyarrow knows, but for secrets; the ones that are not read here do not matter to whole objects
    "s3": "region scheme endpoint_override tls_ca_file_path tls_verify_certificates allow_bucket_creation "
    "allow_bucket_deletion allow_delayed_open smart_defaults",
    "gs": "scheme endpoint_override project_id location retry_limit_seconds",
    "abfs": "blob_storage_authority dfs_storage_authority enable_tls credential_kind client_id background_writes",
}
OPTIONS["abfss"] = OPTIONS["abfs"]
CLIENT: Any = {"allow_http": True, "connect_timeout": timedelta(seconds=5), "timeout": timedelta(minutes=2)}
RETRIES: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=10)}
AWS_S = 5.0  # for its answer where a bucket lies
FRESH = timedelta(minutes=5)  # after which botocore is asked for credentials again; it renews them itself
AZURE_CREDENTIALS: dict[str, dict[str, Any]] = {  # as pyarrow names them
    "anonymous": {"skip_signature": True},
    "cli": {"use_azure_cli": True},
    "managed_identity": {"credential_type": "managed_identity"},
    "workload_identity": {"credential_type": "workload_identity"},
}
GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


def open_store(uri: str) -> tuple[S3Store | GCSStore | AzureStore, str]:
    """The store of an address, and the path in it. Raises ValueError for an option that nobody knows."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if unknown := sorted(set(options) - set(OPTIONS[parts.scheme].split())):
        raise ValueError(f"the option {unknown[0]} is unknown; there are {OPTIONS[parts.scheme].replace(' ', ', ')}")
    if parts.scheme.startswith("abfs"):
        return _azure(parts, options)
    opened = _s3(parts, options) if parts.scheme == "s3" else _google(parts, options)
    return opened, unquote(parts.path).strip("/")


def _s3(parts: SplitResult, options: Mapping[str, str]) -> S3Store:
    from obstore.store import S3Store

    user, _, bucket = parts.netloc.rpartition("@")
    given = _aws_keys(user)
    endpoint = _endpoint(options) or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        given["endpoint"] = endpoint
    region = options.get("region") or (None if endpoint else _region_of(bucket)) or _region_here()
    client = CLIENT | _trusted(options)
    return S3Store(
        bucket, region=region, disable_bulk_delete=True, client_options=client, retry_config=RETRIES, **given
    )


def _trusted(options: Mapping[str, str]) -> dict[str, Any]:
    """Which certificates of a server of one's own are taken."""
    trusted: dict[str, Any] = {}
    if path := options.get("tls_ca_file_path"):
        trusted["root_certificate"] = Path(path).read_bytes()
    if options.get("tls_verify_certificates") == "false":
        trusted["allow_invalid_certificates"] = True
    return trusted


def _endpoint(options: Mapping[str, str]) -> str | None:
    """The address of a server that an option names, with its scheme."""
    override = options.get("endpoint_override")
    return override if not override or "://" in override else f"{options.get('scheme', 'https')}://{override}"


def _aws_keys(user: str) -> dict[str, Any]:
    """How requests are signed: by keys in the address or in the environment, or by what AWS's own chain finds."""
    if user:
        key, _, secret = user.partition(":")
        return {"access_key_id": unquote(key), "secret_access_key": unquote(secret)}
    if os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"):
        return {}  # obstore reads them
    renewed = _aws_credentials()
    return {"credential_provider": renewed} if renewed else {"skip_signature": True}  # anyone reads a public bucket


def _aws_credentials() -> Any:
    """What renews the credentials that AWS's own chain finds: profiles, single sign-on, roles; None without any."""
    import botocore.session

    credentials = botocore.session.Session().get_credentials()
    if credentials is None:
        return None

    def renewed() -> dict[str, Any]:
        frozen = credentials.get_frozen_credentials()
        keys = {"access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key, "token": frozen.token}
        return {**keys, "expires_at": datetime.now(UTC) + FRESH}

    return renewed


def _region_of(bucket: str) -> str | None:
    """Where AWS has a bucket, which it tells anyone; None where it does not answer."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD"), timeout=AWS_S) as answer:
            headers = answer.headers
    except HTTPError as error:  # of another region, or not for everybody: it is told all the same
        headers = error.headers
    except (OSError, ValueError):
        return None
    region: str | None = headers.get("x-amz-bucket-region")
    return region


def _region_here() -> str:
    """The region that this machine is set to."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if named or os.environ.get("AWS_ACCESS_KEY_ID"):
        return named or "us-east-1"
    import botocore.session

    return botocore.session.Session().get_config_variable("region") or "us-east-1"


def _google(parts: SplitResult, options: Mapping[str, str]) -> GCSStore:
    from obstore.store import GCSStore

    user, _, bucket = parts.netloc.rpartition("@")
    given: dict[str, Any] = {}
    if endpoint := _endpoint(options) or os.environ.get("CLOUD_STORAGE_EMULATOR_ENDPOINT"):
        given["base_url"] = endpoint.rstrip("/")
    given |= {"skip_signature": True} if user == "anonymous" else {"credential_provider": _google_credentials()}
    return GCSStore(bucket, client_options=CLIENT, retry_config=RETRIES, **given)


def _google_credentials() -> Any:
    """What renews the credentials that Google's own chain finds: key files, federation, gcloud's, an instance's."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request as Transport

    credentials: Any
    try:
        credentials, _ = google.auth.default(scopes=[GOOGLE_SCOPE])
    except GoogleAuthError as error:
        raise ValueError(str(error)) from error
    if hasattr(credentials, "with_always_use_jwt_access"):  # a key signs for itself, without asking for a token first
        credentials = credentials.with_always_use_jwt_access(True)
    transport = Transport()

    def renewed() -> dict[str, Any]:
        credentials.refresh(transport)
        return {"token": credentials.token, "expires_at": credentials.expiry.replace(tzinfo=UTC)}

    return renewed


def _azure(parts: SplitResult, options: Mapping[str, str]) -> tuple[AzureStore, str]:
    """Of abfs://CONTAINER@ACCOUNT.…/PATH, or abfs://ACCOUNT.…/CONTAINER/PATH."""
    from obstore.store import AzureStore

    container, _, host = parts.netloc.rpartition("@")
    path = unquote(parts.path).strip("/")
    if not container:
        container, _, path = path.partition("/")
    given: dict[str, Any] = dict(AZURE_CREDENTIALS.get(options.get("credential_kind", ""), {}))
    if client := options.get("client_id"):  # of a managed identity
        given["client_id"] = client
    if authority := options.get("blob_storage_authority"):
        scheme = "https" if options.get("enable_tls", "true") == "true" else "http"
        given["endpoint"] = f"{scheme}://{authority}"
    if not given.keys() & {"client_id", "credential_type", "skip_signature"} and _azure_cli():
        given["use_azure_cli"] = True
    account = host.partition(".")[0]
    return AzureStore(container, account_name=account, client_options=CLIENT, retry_config=RETRIES, **given), path


def _azure_cli() -> bool:
    """Whether someone is logged in on this machine with `az login`, and nothing else is set."""
    if "AZURE_CLIENT_ID" in os.environ:
        return False
    folder = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
    return (folder / "azureProfile.json").exists() and shutil.which("az") is not None
