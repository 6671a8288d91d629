//! Lock files: what a program uses today, with the digests of the bytes. Read are requirements with hashes (as `pip`,
//! `pip-tools` and `uv` write them), `uv.lock` and `pylock.toml` (PEP 751).
//!
//! What such a file names is somebody's wish, not a fact: a reader that is in doubt refuses, naming line or package.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{name, requirement, version};
use crate::rejection::quoted;
use crate::{NameKey, Rejection};

/// The longest lock file that is read, in bytes.
pub const MAX_LOCK: usize = 32 << 20;
/// The most entries of one lock file.
const MAX_ENTRIES: usize = 20_000;
/// The most files of one entry.
const MAX_FILES: usize = 4096;

/// The kinds of lock files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// `requirements.txt`, every line with a version and hashes.
    Requirements,
    /// `uv.lock`.
    Uv,
    /// `pylock.toml` (PEP 751).
    Pylock,
}

impl LockKind {
    /// The kind as messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requirements => "requirements with hashes",
            Self::Uv => "uv.lock",
            Self::Pylock => "pylock.toml",
        }
    }
}

/// Where an entry's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An index of packages, where the file says which.
    Index(Option<String>),
    /// Somewhere else, past any index: an address, a repository.
    Elsewhere(String),
    /// This machine: the project itself, a folder beside it.
    Local(String),
}

/// A file that may be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFile {
    /// Its name, where the lock file says it.
    pub filename: Option<String>,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// One project at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The project.
    pub name_key: NameKey,
    /// The version in normal form; none where what is local has none.
    pub version: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// The files that may be installed; without a digest a file is not among them.
    pub files: Vec<LockedFile>,
    /// Whether a file is named without a SHA-256 digest.
    pub unhashed: bool,
}

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Its kind.
    pub kind: LockKind,
    /// What it names, in its order; what stands there twice stands here once.
    pub entries: Vec<Entry>,
}

/// Reads a lock file. The kind is told by its name, and by its first table where the name says nothing.
///
/// # Errors
/// `lock-unknown` for other kinds, `lock-malformed` for what is not of its kind, is not pinned to a version, or is too much.
pub fn parse(filename: &str, bytes: &[u8]) -> Result<LockFile, Rejection> {
    if bytes.len() > MAX_LOCK {
        return Err(malformed(format!("it has more than {MAX_LOCK} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8 text"))?;
    if text.contains('\0') {
        return Err(malformed("it is not text"));
    }
    let kind = kind(filename, text)?;
    let mut entries = match kind {
        LockKind::Requirements => requirements(text)?,
        LockKind::Uv => uv(text)?,
        LockKind::Pylock => pylock(text)?,
    };
    if entries.len() > MAX_ENTRIES {
        return Err(malformed(format!("it has more than {MAX_ENTRIES} entries")));
    }
    if let Some(long) = entries.iter().find(|entry| entry.files.len() > MAX_FILES) {
        return Err(malformed(format!(
            "{} has more than {MAX_FILES} files",
            long.name_key
        )));
    }
    let mut seen = std::collections::BTreeSet::new();
    entries.retain(|entry| {
        let files: Vec<&str> = entry.files.iter().map(|file| &*file.sha256).collect();
        seen.insert(format!(
            "{}\n{:?}\n{:?}\n{files:?}",
            entry.name_key, entry.version, entry.origin
        ))
    });
    Ok(LockFile { kind, entries })
}

fn malformed(why: impl AsRef<str>) -> Rejection {
    Rejection::new(
        "lock-malformed",
        format!("The lock file can not be used: {}.", why.as_ref()),
    )
}

fn kind(filename: &str, text: &str) -> Result<LockKind, Rejection> {
    let lower = filename.to_ascii_lowercase();
    if lower == "uv.lock" {
        return Ok(LockKind::Uv);
    }
    if lower == "pylock.toml" || (lower.starts_with("pylock.") && lower.ends_with(".toml")) {
        return Ok(LockKind::Pylock);
    }
    let line = |start: &str| text.lines().any(|line| line.starts_with(start));
    if line("lock-version =") && line("[[packages]]") {
        return Ok(LockKind::Pylock);
    }
    if line("requires-python =") && line("[[package]]") && !lower.contains("poetry") {
        return Ok(LockKind::Uv);
    }
    let foreign = line("[[package]]") || line("[") || text.trim_start().starts_with(['{', '[']);
    if foreign || lower.ends_with(".lock") || lower.ends_with(".json") || lower.ends_with(".toml") {
        return Err(Rejection::new(
            "lock-unknown",
            format!("{} is not of a kind that is read.", quoted(filename)),
        )
        .with_remedy("Read are requirements with hashes, uv.lock and pylock.toml. Most tools export one of them, such as `uv export --format pylock.toml`."));
    }
    Ok(LockKind::Requirements)
}

fn digest(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:")?;
    is_sha256(hex).then_some(hex)
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The last part of an address or path.
fn last(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    // The characters of distribution names that addresses escape.
    let name = name
        .replace("%2B", "+")
        .replace("%2b", "+")
        .replace("%21", "!");
    (!name.is_empty() && !name.contains('%')).then_some(name)
}

fn plain(text: &str) -> String {
    crate::rejection::printable(text, 300)
}

// ---- requirements ----

fn requirements(text: &str) -> Result<Vec<Entry>, Rejection> {
    let mut index = None;
    let mut entries = Vec::new();
    for (number, line) in logical_lines(text) {
        let refuse = |why: String| {
            malformed(format!("line {number}: {why}"))
                .with_remedy("Every line names one version and its SHA-256 hashes, as `uv pip compile --generate-hashes` writes them.")
        };
        if line.starts_with('-') {
            let (option, value) = line
                .split_once(['=', ' '])
                .map_or((&*line, ""), |(option, value)| (option, value.trim()));
            match option {
                "-i" | "--index-url" => index = Some(plain(value)),
                "--require-hashes" | "--no-binary" | "--only-binary" | "--prefer-binary"
                | "--pre" | "--trusted-host" | "--use-feature" => {}
                _ => {
                    return Err(refuse(format!(
                        "the option {} is not followed",
                        quoted(option)
                    )));
                }
            }
            continue;
        }
        if entries.len() >= MAX_ENTRIES {
            return Err(malformed(format!("it has more than {MAX_ENTRIES} entries")));
        }
        entries.push(required(&line, index.as_ref()).map_err(refuse)?);
    }
    Ok(entries)
}

/// Lines without comments, those that go on joined; with the number of their first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, raw) in text.lines().enumerate() {
        let bare = match raw.trim_start().starts_with('#') {
            true => "",
            false => raw.split_once(" #").map_or(raw, |(line, _)| line),
        };
        let (number, mut line) = open.take().unwrap_or((at + 1, String::new()));
        match bare.trim_end().strip_suffix('\\') {
            Some(more) => {
                line.push_str(more);
                line.push(' ');
                open = Some((number, line));
            }
            None => {
                line.push_str(bare);
                lines.push((number, line.trim().to_owned()));
            }
        }
    }
    lines.extend(open.map(|(number, line)| (number, line.trim().to_owned())));
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

fn required(line: &str, index: Option<&String>) -> Result<Entry, String> {
    let mut parts = line.split(" --");
    let head = parts.next().unwrap_or_default().trim();
    let mut files = Vec::new();
    let mut unhashed = true;
    for option in parts {
        let option = option.trim();
        let hash = option
            .strip_prefix("hash")
            .and_then(|rest| rest.strip_prefix(['=', ' ']))
            .ok_or_else(|| format!("the option --{} is not followed", plain(option)))?
            .trim();
        let algorithm = hash.split(':').next().unwrap_or_default();
        match digest(hash) {
            Some(hex) => {
                unhashed = false;
                files.push(LockedFile {
                    filename: None,
                    sha256: hex.to_owned(),
                });
            }
            None if ["sha384", "sha512"].contains(&algorithm) => {}
            None => return Err(format!("{} is no SHA-256 hash", quoted(hash))),
        }
    }
    let elsewhere = head
        .split(';')
        .next()
        .unwrap_or_default()
        .split_once('@')
        .map(|(name, address)| (name.trim(), address.trim()));
    if let Some((written, address)) = elsewhere {
        let written = written.split('[').next().unwrap_or_default().trim();
        return Ok(Entry {
            name_key: name::key(written).map_err(|refused| refused.message)?,
            version: None,
            origin: Origin::Elsewhere(plain(address)),
            files,
            unhashed,
        });
    }
    let wanted = requirement::parse(head).map_err(|refused| refused.message)?;
    let pinned = wanted
        .specifier
        .strip_prefix("===")
        .or_else(|| wanted.specifier.strip_prefix("=="))
        .map(str::trim)
        .filter(|text| !text.contains(['*', ',']))
        .ok_or_else(|| format!("{} is not pinned to one version", quoted(head)))?;
    Ok(Entry {
        version: Some(canonical(pinned)?),
        name_key: wanted.name_key,
        origin: Origin::Index(index.cloned()),
        files,
        unhashed,
    })
}

fn canonical(text: &str) -> Result<String, String> {
    version::parse(text)
        .map(|version| version.canonical().to_owned())
        .map_err(|refused| refused.message)
}

// ---- uv.lock and pylock.toml ----

#[derive(Deserialize)]
struct UvLock {
    version: u64,
    #[serde(default)]
    package: Vec<UvPackage>,
}

#[derive(Deserialize)]
struct UvPackage {
    name: String,
    version: Option<String>,
    source: BTreeMap<String, toml::Value>,
    sdist: Option<UvFile>,
    #[serde(default)]
    wheels: Vec<UvFile>,
}

#[derive(Deserialize)]
struct UvFile {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Rejection> {
    toml::from_str(text).map_err(|error| malformed(error.message()))
}

fn uv(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: UvLock = read(text)?;
    if lock.version != 1 {
        return Err(malformed(format!(
            "it is of version {}; known is 1",
            lock.version
        )));
    }
    lock.package
        .into_iter()
        .map(|package| {
            let said = |key: &str| match package.source.get(key) {
                Some(toml::Value::String(text)) => Some(plain(text)),
                Some(_) => Some(key.to_owned()),
                None => None,
            };
            let local = ["virtual", "editable", "directory", "path"]
                .iter()
                .find_map(|key| said(key));
            let origin = if let Some(index) = said("registry") {
                Origin::Index(Some(index))
            } else if let Some(place) = local {
                Origin::Local(place)
            } else if let Some(place) = said("git").or_else(|| said("url")) {
                Origin::Elsewhere(place)
            } else {
                return Err(malformed(format!(
                    "{} is from nowhere that is known",
                    quoted(&package.name)
                )));
            };
            let files = package.sdist.into_iter().chain(package.wheels);
            let files = files.map(|file| {
                let named = file.filename.or_else(|| {
                    let place = file.url.as_deref().or(file.path.as_deref());
                    place.and_then(last)
                });
                (
                    named,
                    file.hash.as_deref().and_then(digest).map(str::to_owned),
                )
            });
            entry(&package.name, package.version.as_deref(), origin, files)
        })
        .collect()
}

fn entry(
    written: &str,
    version: Option<&str>,
    origin: Origin,
    files: impl Iterator<Item = (Option<String>, Option<String>)>,
) -> Result<Entry, Rejection> {
    let of = |why: String| malformed(format!("package {}: {why}", quoted(written)));
    let name_key = name::key(written).map_err(|refused| of(refused.message))?;
    let version = version.map(canonical).transpose().map_err(of)?;
    if version.is_none() && matches!(origin, Origin::Index(_)) {
        return Err(of("it has no version".to_owned()));
    }
    let mut known = Vec::new();
    let mut unhashed = false;
    for (filename, sha256) in files {
        let filename = filename.filter(|name| !name.is_empty() && !name.contains(['/', '\\']));
        match sha256 {
            Some(sha256) => known.push(LockedFile { filename, sha256 }),
            None => unhashed = true,
        }
    }
    unhashed |= known.is_empty();
    Ok(Entry {
        name_key,
        version,
        origin,
        files: known,
        unhashed,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock {
    lock_version: String,
    #[serde(default)]
    packages: Vec<PylockPackage>,
}

#[derive(Deserialize)]
struct PylockPackage {
    name: String,
    version: Option<String>,
    index: Option<String>,
    vcs: Option<PylockPlace>,
    directory: Option<PylockPlace>,
    archive: Option<PylockFile>,
    sdist: Option<PylockFile>,
    #[serde(default)]
    wheels: Vec<PylockFile>,
}

#[derive(Deserialize)]
struct PylockPlace {
    url: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct PylockFile {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl PylockFile {
    fn known(self) -> (Option<String>, Option<String>) {
        let place = self.url.as_deref().or(self.path.as_deref());
        let sha256 = self
            .hashes
            .iter()
            .find(|(algorithm, hex)| algorithm.as_str() == "sha256" && is_sha256(hex))
            .map(|(_, hex)| hex.clone());
        (self.name.clone().or_else(|| place.and_then(last)), sha256)
    }

    fn place(&self) -> Option<String> {
        self.url.as_deref().or(self.path.as_deref()).map(plain)
    }
}

fn pylock(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: Pylock = read(text)?;
    if lock.lock_version.split('.').next() != Some("1") {
        return Err(malformed(format!(
            "it is of version {}; known is 1",
            quoted(&lock.lock_version)
        )));
    }
    lock.packages
        .into_iter()
        .map(|package| {
            let place = |place: &PylockPlace| {
                let place = place.url.as_deref().or(place.path.as_deref());
                plain(place.unwrap_or("somewhere"))
            };
            let origin = if let Some(vcs) = &package.vcs {
                Origin::Elsewhere(place(vcs))
            } else if let Some(folder) = &package.directory {
                Origin::Local(place(folder))
            } else if let Some(archive) = &package.archive {
                Origin::Elsewhere(archive.place().unwrap_or_else(|| "somewhere".to_owned()))
            } else {
                Origin::Index(package.index.as_deref().map(plain))
            };
            let files = package
                .archive
                .into_iter()
                .chain(package.sdist)
                .chain(package.wheels)
                .map(PylockFile::known);
            entry(&package.name, package.version.as_deref(), origin, files)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn shown(lock: &LockFile) -> Vec<String> {
        lock.entries
            .iter()
            .map(|entry| {
                let version = entry.version.as_deref().unwrap_or("-");
                let files: Vec<String> = entry
                    .files
                    .iter()
                    .map(|file| {
                        let name = file.filename.as_deref().unwrap_or("?");
                        format!("{name}:{}", &file.sha256[..2])
                    })
                    .collect();
                format!(
                    "{}@{version} {:?} {} {}",
                    entry.name_key,
                    entry.origin,
                    files.join(","),
                    entry.unhashed
                )
            })
            .collect()
    }

    #[test]
    fn requirements_with_hashes_are_read() {
        let text = format!(
            "# made by a tool\n--index-url https://index.example/simple\n--require-hashes\n\
             Flask_Thing==1.0.0 ; python_version > '3' \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n    # via x\n\
             other[extra]===2.0 --hash=sha256:{B} # why\n\
             third==1.0\n\
             far @ https://elsewhere.example/far-1.0.tar.gz --hash=sha256:{A}\n"
        );
        let lock = parse("requirements.txt", text.as_bytes()).unwrap();
        assert_eq!(lock.kind, LockKind::Requirements);
        let index = "Index(Some(\"https://index.example/simple\"))";
        assert_eq!(
            shown(&lock),
            [
                format!("flask-thing@1.0.0 {index} ?:aa,?:bb false"),
                format!("other@2.0 {index} ?:bb false"),
                format!("third@1.0 {index}  true"),
                "far@- Elsewhere(\"https://elsewhere.example/far-1.0.tar.gz\") ?:aa false"
                    .to_owned(),
            ]
        );
    }

    #[test]
    fn requirements_that_leave_something_open_are_refused_by_their_line() {
        for line in [
            "a>=1",
            "a",
            "a==1.*",
            "-r other.txt",
            "-e .",
            "--extra-index-url https://x",
            "a==1 --hash=md5:00",
            "a==1 --hash=sha256:AA",
            "a==1 --global-option x",
            "./a.whl",
            "https://x.example/a.whl",
        ] {
            let text = format!("b==1 --hash=sha256:{A}\n{line}\n");
            let refused = parse("requirements.txt", text.as_bytes()).unwrap_err();
            assert_eq!(refused.code, "lock-malformed", "{line}");
            assert!(refused.message.contains("line 2"), "{line}: {refused}");
        }
    }

    #[test]
    fn uv_lock_is_read() {
        let text = format!(
            "version = 1\nrevision = 3\nrequires-python = \">=3.12\"\n\n\
             [[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\n\n\
             [[package]]\nname = \"thing\"\nversion = \"1.0\"\nsource = {{ registry = \"https://i.example/simple\" }}\n\
             sdist = {{ url = \"https://i.example/files/thing-1.0.tar.gz\", hash = \"sha256:{A}\", size = 3 }}\n\
             wheels = [\n  {{ url = \"https://i.example/f/thing-1.0%2Bl-py3-none-any.whl\", hash = \"sha256:{B}\" }},\n]\n\n\
             [[package]]\nname = \"far\"\nversion = \"1\"\nsource = {{ git = \"https://g.example/far?rev=1#abc\" }}\n"
        );
        let lock = parse("uv.lock", text.as_bytes()).unwrap();
        assert_eq!(
            shown(&lock),
            [
                "app@0.1 Local(\".\")  true",
                "thing@1.0 Index(Some(\"https://i.example/simple\")) thing-1.0.tar.gz:aa,thing-1.0+l-py3-none-any.whl:bb false",
                "far@1 Elsewhere(\"https://g.example/far?rev=1#abc\")  true",
            ]
        );
        for bad in ["version = 2\n", "version = 1\n[[package]]\nname='a'\n", "x"] {
            assert!(parse("uv.lock", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn pylock_is_read() {
        let text = format!(
            "lock-version = \"1.0\"\ncreated-by = \"x\"\n\n[[packages]]\nname = \"thing\"\nversion = \"1.0\"\n\
             index = \"https://i.example/simple\"\n\
             wheels = [{{ name = \"thing-1.0-py3-none-any.whl\", url = \"https://x/y\", hashes = {{ sha256 = \"{A}\" }} }}]\n\
             [[packages]]\nname = \"bare\"\nversion = \"1.0\"\nsdist = {{ name = \"bare-1.0.tar.gz\", hashes = {{ md5 = \"00\" }} }}\n\
             [[packages]]\nname = \"here\"\n[packages.directory]\npath = \".\"\n"
        );
        let lock = parse("pylock.dev.toml", text.as_bytes()).unwrap();
        assert_eq!(
            shown(&lock),
            [
                "thing@1.0 Index(Some(\"https://i.example/simple\")) thing-1.0-py3-none-any.whl:aa false",
                "bare@1.0 Index(None)  true",
                "here@- Local(\".\")  true",
            ]
        );
        assert!(parse("pylock.toml", b"lock-version = \"2.0\"\n").is_err());
    }

    #[test]
    fn what_is_no_lock_file_of_these_kinds_is_refused_with_what_is_read() {
        for (name, text) in [
            ("package-lock.json", "{}"),
            ("poetry.lock", "[[package]]\nname = \"a\"\n"),
            ("Cargo.lock", "version = 4\n[[package]]\n"),
            ("pyproject.toml", "[project]\n"),
        ] {
            let refused = parse(name, text.as_bytes()).unwrap_err();
            assert_eq!(refused.code, "lock-unknown", "{name}");
            assert!(refused.to_string().contains("uv.lock"), "{refused}");
        }
        assert!(parse("requirements.txt", &[0xff, 0xfe]).is_err());
        assert!(parse("requirements.txt", b"\x00\x01").is_err());
        assert!(parse("requirements.txt", &vec![b'#'; MAX_LOCK + 1]).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,200}", lines in "[a-z=\\\\ #\n\\-:0-9@\\[\\]]{0,200}") {
            for name in ["requirements.txt", "uv.lock", "pylock.toml"] {
                let _ = parse(name, text.as_bytes());
                let _ = parse(name, lines.as_bytes());
            }
        }
    }
}
