//! Names that may not be taken: those of a language's own library (an installer would never reach them, a person would), those
//! an operator prohibits, those that read the same as a project's, and those that look like a protected one where that is
//! refused. What only reads like a name of the library is refused with it.

use std::collections::HashSet;
use std::sync::LazyLock;

use countersign_formats::{Ecosystem, NameKey, format};

use super::lookalikes::{Hit, Tier};

/// Why a new name is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameFinding {
    /// The language's own library has it, or one that reads the same.
    StandardLibrary,
    /// The operator prohibits it; why, where that was said.
    Prohibited(Option<String>),
    /// It reads the same as a project that exists, or did.
    LooksLike(String),
    /// It looks like a protected name.
    Protected(Hit),
}

/// Judges a name nobody has yet. `lookalikes` are the projects with the same skeleton, `prohibited` the reason of the rows,
/// `listed` the names that the configuration prohibits, `hits` the protected names that it looks like.
pub(crate) fn new_name(
    ecosystem: Ecosystem,
    key: &NameKey,
    lookalikes: &[String],
    prohibited: Option<&String>,
    listed: &[String],
    hits: &[Hit],
) -> Option<NameFinding> {
    if reads_as_standard(ecosystem, key) {
        return Some(NameFinding::StandardLibrary);
    }
    if let Some(reason) = prohibited {
        return Some(NameFinding::Prohibited(Some(reason.clone())));
    }
    if listed.iter().any(|name| name == key.as_str()) {
        return Some(NameFinding::Prohibited(None));
    }
    if let Some(other) = lookalikes.first() {
        return Some(NameFinding::LooksLike(other.clone()));
    }
    hits.iter()
        .find(|hit| hit.tier == Tier::Refuse)
        .map(|hit| NameFinding::Protected(hit.clone()))
}

/// Does the name read as one of the language's own library? The exact ones of Cargo and npm are refused by their formats.
fn reads_as_standard(ecosystem: Ecosystem, key: &NameKey) -> bool {
    static MODULES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let of = |module: &&str| {
            let key = NameKey::from_stored(module.replace('_', "-"));
            format(Ecosystem::Pypi).skeleton(&key)
        };
        STANDARD_LIBRARY.iter().map(of).collect()
    });
    let rules = format(ecosystem);
    match ecosystem {
        Ecosystem::Pypi => MODULES.contains(&rules.skeleton(key)),
        Ecosystem::Cargo | Ecosystem::Npm => ['l', 'i'].iter().any(|one| {
            let read: String = key
                .as_str()
                .chars()
                .map(|c| match c {
                    '0' => 'o',
                    '1' => *one,
                    other => other,
                })
                .collect();
            read != key.as_str()
                && rules
                    .new_name(&read)
                    .is_err_and(|refused| refused.code == "name-reserved")
        }),
    }
}

/// Top-level modules of Python's standard library, sorted.
const STANDARD_LIBRARY: &[&str] = &[
    "abc",
    "aifc",
    "antigravity",
    "argparse",
    "array",
    "ast",
    "asynchat",
    "asyncio",
    "asyncore",
    "atexit",
    "audioop",
    "base64",
    "bdb",
    "binascii",
    "bisect",
    "builtins",
    "bz2",
    "calendar",
    "cgi",
    "cgitb",
    "chunk",
    "cmath",
    "cmd",
    "code",
    "codecs",
    "codeop",
    "collections",
    "colorsys",
    "compileall",
    "concurrent",
    "configparser",
    "contextlib",
    "contextvars",
    "copy",
    "copyreg",
    "cprofile",
    "crypt",
    "csv",
    "ctypes",
    "curses",
    "dataclasses",
    "datetime",
    "dbm",
    "decimal",
    "difflib",
    "dis",
    "distutils",
    "doctest",
    "email",
    "encodings",
    "ensurepip",
    "enum",
    "errno",
    "faulthandler",
    "fcntl",
    "filecmp",
    "fileinput",
    "fnmatch",
    "fractions",
    "ftplib",
    "functools",
    "gc",
    "genericpath",
    "getopt",
    "getpass",
    "gettext",
    "glob",
    "graphlib",
    "grp",
    "gzip",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "http",
    "idlelib",
    "imaplib",
    "imghdr",
    "imp",
    "importlib",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "keyword",
    "lib2to3",
    "linecache",
    "locale",
    "logging",
    "lzma",
    "mailbox",
    "mailcap",
    "marshal",
    "math",
    "mimetypes",
    "mmap",
    "modulefinder",
    "msilib",
    "msvcrt",
    "multiprocessing",
    "netrc",
    "nis",
    "nntplib",
    "nt",
    "ntpath",
    "nturl2path",
    "numbers",
    "opcode",
    "operator",
    "optparse",
    "os",
    "ossaudiodev",
    "pathlib",
    "pdb",
    "pickle",
    "pickletools",
    "pipes",
    "pkgutil",
    "platform",
    "plistlib",
    "poplib",
    "posix",
    "posixpath",
    "pprint",
    "profile",
    "pstats",
    "pty",
    "pwd",
    "py_compile",
    "pyclbr",
    "pydoc",
    "pydoc_data",
    "pyexpat",
    "queue",
    "quopri",
    "random",
    "re",
    "readline",
    "reprlib",
    "resource",
    "rlcompleter",
    "runpy",
    "sched",
    "secrets",
    "select",
    "selectors",
    "shelve",
    "shlex",
    "shutil",
    "signal",
    "site",
    "smtpd",
    "smtplib",
    "sndhdr",
    "socket",
    "socketserver",
    "spwd",
    "sqlite3",
    "sre_compile",
    "sre_constants",
    "sre_parse",
    "ssl",
    "stat",
    "statistics",
    "string",
    "stringprep",
    "struct",
    "subprocess",
    "sunau",
    "symtable",
    "sys",
    "sysconfig",
    "syslog",
    "tabnanny",
    "tarfile",
    "telnetlib",
    "tempfile",
    "termios",
    "textwrap",
    "this",
    "threading",
    "time",
    "timeit",
    "tkinter",
    "token",
    "tokenize",
    "tomllib",
    "trace",
    "traceback",
    "tracemalloc",
    "tty",
    "turtle",
    "turtledemo",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "urllib",
    "uu",
    "uuid",
    "venv",
    "warnings",
    "wave",
    "weakref",
    "webbrowser",
    "winreg",
    "winsound",
    "wsgiref",
    "xdrlib",
    "xml",
    "xmlrpc",
    "zipapp",
    "zipfile",
    "zipimport",
    "zlib",
    "zoneinfo",
];

#[cfg(test)]
mod tests {
    use super::super::lookalikes::Way;
    use super::*;

    fn key(name: &str) -> NameKey {
        NameKey::from_stored(name)
    }

    fn judged(ecosystem: Ecosystem, name: &str) -> Option<NameFinding> {
        new_name(ecosystem, &key(name), &[], None, &["evil".into()], &[])
    }

    #[test]
    fn the_library_of_a_language_is_its_own_also_where_it_is_only_read_so() {
        assert!(STANDARD_LIBRARY.is_sorted());
        for (ecosystem, name) in [
            (Ecosystem::Pypi, "urllib"),
            (Ecosystem::Pypi, "ur11ib"),
            (Ecosystem::Pypi, "sqlite-3"),
            (Ecosystem::Cargo, "a11oc"),
            (Ecosystem::Cargo, "c0re"),
            (Ecosystem::Npm, "crypt0"),
            (Ecosystem::Npm, "t1mers"),
        ] {
            let found = judged(ecosystem, name);
            assert_eq!(
                found,
                Some(NameFinding::StandardLibrary),
                "{ecosystem} {name}"
            );
        }
        for (ecosystem, name) in [
            (Ecosystem::Pypi, "urllib3"),
            (Ecosystem::Cargo, "alloc-cortex"),
            (Ecosystem::Npm, "@acme/crypt0"),
            (Ecosystem::Npm, "timers2"),
        ] {
            assert_eq!(judged(ecosystem, name), None, "{ecosystem} {name}");
        }
    }

    #[test]
    fn lookalikes_prohibited_and_protected_names_are_refused() {
        let pypi = Ecosystem::Pypi;
        assert_eq!(
            new_name(pypi, &key("f1ask"), &["flask".into()], None, &[], &[]),
            Some(NameFinding::LooksLike("flask".into()))
        );
        assert_eq!(judged(pypi, "evil"), Some(NameFinding::Prohibited(None)));
        let why = "taken from its owners".to_owned();
        assert_eq!(
            new_name(pypi, &key("other"), &[], Some(&why), &[], &[]),
            Some(NameFinding::Prohibited(Some(why)))
        );
        let mut hit = Hit {
            other: "numpy".into(),
            way: Way::Typo,
            tier: Tier::Refuse,
        };
        let hits = |hit: &Hit| {
            new_name(
                pypi,
                &key("numpi"),
                &[],
                None,
                &[],
                std::slice::from_ref(hit),
            )
        };
        assert_eq!(hits(&hit), Some(NameFinding::Protected(hit.clone())));
        hit.tier = Tier::Hold;
        assert_eq!(hits(&hit), None, "what is held is founded");
        assert_eq!(judged(pypi, "fine-name"), None);
    }
}
