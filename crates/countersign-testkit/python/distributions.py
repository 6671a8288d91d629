"""Real distributions through pip's own finder and session, so from whatever index this machine's pip is configured
for, and without ever running code of what is fetched (`pip download` builds source distributions to learn their
metadata).

  distributions.py fetch LIST FOLDER [ci]    downloads what LIST pins, checks each SHA-256, prints a line per file
  distributions.py choose NAME...            prints pins: wheel and source distribution of two releases per project

A pin is a line `FILENAME SHA256 SIZE`, followed by ` ci` when it belongs to the small set. `#` begins a comment.
"""
import contextlib
import hashlib
import os
import re
import sys

from pip._internal.commands import create_command
from pip._internal.index.collector import parse_links
from pip._internal.models.link import Link
from pip._vendor.packaging.utils import canonicalize_name


@contextlib.contextmanager
def pip_finder():
    """pip's finder and HTTP session, configured as its command `download` would be on this machine."""
    command = create_command("download")
    options, _ = command.parse_args(["--quiet"])
    with command.main_context():
        session = command.get_default_session(options)
        yield session, command._build_package_finder(options=options, session=session, ignore_requires_python=False)


def files_of(finder, project):
    """Every file that the configured indexes list for a project: filename to address."""
    files = {}
    for index in finder.index_urls:
        page = finder._link_collector.fetch_response(Link(f"{index.rstrip('/')}/{canonicalize_name(project)}/"))
        for link in parse_links(page) if page else ():
            files.setdefault(link.filename, link.url_without_fragment)
    return files


def project_of(filename):
    if filename.endswith(".whl"):
        return filename.split("-")[0]
    return re.sub(r"\.(tar\.gz|zip)$", "", filename).rpartition("-")[0]


def pins(path, small):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if words and (not small or "ci" in words[3:]):
                yield words[0], words[1], int(words[2])


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(session, url, path, sha256):
    partial = path + ".part"
    answer = session.get(url, headers={"Accept-Encoding": "identity"}, stream=True)
    answer.raise_for_status()
    with open(partial, "wb") as file:
        for piece in answer.iter_content(1 << 18):
            file.write(piece)
    found = digest(partial)
    if found != sha256:
        sys.exit(f"{os.path.basename(path)} has the digest {found}, the list pins {sha256}")
    os.replace(partial, path)


def fetch(list_path, folder, small):
    os.makedirs(folder, exist_ok=True)
    wanted = list(pins(list_path, small))
    missing = [pin for pin in wanted if not os.path.exists(os.path.join(folder, pin[0]))]
    print(f"{len(wanted)} distributions, {len(missing)} to fetch, "
          f"{sum(size for _, _, size in missing) / 1e6:.0f} MB", flush=True)
    if not missing:
        return
    files = {}
    with pip_finder() as (session, finder):
        for number, (filename, sha256, size) in enumerate(missing, 1):
            project = project_of(filename)
            if project not in files:
                files[project] = files_of(finder, project)
            if filename not in files[project]:
                sys.exit(f"the index knows no file {filename}; choose another pin for {project}")
            print(f"[{number}/{len(missing)}] {filename} {size / 1e6:.1f} MB", flush=True)
            download(session, files[project][filename], os.path.join(folder, filename), sha256)


def choose(names):
    with pip_finder() as (session, finder):
        for name in names:
            candidates = finder.find_all_candidates(name)
            best = finder.make_candidate_evaluator(name)
            versions = sorted({c.version for c in candidates if not c.version.is_prerelease}, reverse=True)
            chosen, minors = 0, set()
            for version in versions:
                of_version = [c for c in candidates if c.version == version and not c.link.is_yanked]
                wheels = [c for c in of_version if c.link.is_wheel]
                sdists = [c for c in of_version if c.link.filename.endswith(".tar.gz")]
                if not wheels or not sdists or version.release[:2] in minors:
                    continue
                minors.add(version.release[:2])
                for c in (best.sort_best_candidate(wheels), sdists[0]):
                    size = int(session.head(c.link.url_without_fragment).headers["Content-Length"])
                    print(c.link.filename, c.link.hash, size, flush=True)
                chosen += 1
                if chosen == 2:
                    break


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fetch", list_path, folder, *rest]:
            fetch(list_path, folder, rest == ["ci"])
        case ["choose", *names] if names:
            choose(names)
        case _:
            sys.exit(__doc__)
