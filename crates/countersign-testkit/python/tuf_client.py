"""python-tuf as a client of one repository after the other: a JSON object per line comes in, one goes out.

In: `metadata` and `targets` (addresses), `state` (folder of what is trusted), `root` (text of the root that is pinned; without it
goes on from what `state` has), `path` (the target that is wanted, if one is), `at` (the client's clock, in seconds since 1970 UTC).
Out: `versions` of the top-level roles and, for a target, its `sha256` or `absent`; or `refused` with the name of the exception.
"""

import datetime
import hashlib
import json
import pathlib
import sys

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher


def answer(asked):
    state = pathlib.Path(asked["state"])
    downloads = state / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    root = asked.get("root")
    updater = Updater(
        str(state),
        asked["metadata"],
        target_dir=str(downloads),
        target_base_url=asked["targets"],
        fetcher=Urllib3Fetcher(socket_timeout=asked.get("patience", 30)),
        config=UpdaterConfig(prefix_targets_with_hash=asked.get("prefixed", True)),
        bootstrap=None if root is None else root.encode(),
    )
    trusted = updater._trusted_set
    if "at" in asked:
        trusted.reference_time = datetime.datetime.fromtimestamp(asked["at"], datetime.timezone.utc)
    updater.refresh()
    roles = ["root", "timestamp", "snapshot", "targets"]
    told = {"versions": {role: trusted[role].version for role in roles}}
    if "path" not in asked:
        return told
    info = updater.get_targetinfo(asked["path"])
    if info is None:
        return {**told, "absent": True}
    # What was downloaded before is no download.
    for old in downloads.iterdir():
        old.unlink()
    got = pathlib.Path(updater.download_target(info)).read_bytes()
    return {**told, "sha256": hashlib.sha256(got).hexdigest()}


for line in sys.stdin:
    try:
        told = answer(json.loads(line))
    except (RepositoryError, DownloadError) as error:
        # Tests name the first of these that fits: subclasses say it better than their parents.
        told = {"refused": type(error).__name__, "why": str(error)}
    print(json.dumps(told), flush=True)
