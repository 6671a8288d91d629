//! Names that may not be taken: those of Python's standard library (an installer would never reach them, a person
//! would), those an operator prohibits, and those one slip of a finger away from a protected one.

use countersign_formats::{Ecosystem, NameKey};

/// Why a new name is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameFinding {
    /// A module of the standard library has it.
    StandardLibrary,
    /// The operator prohibits it.
    Prohibited,
    /// It looks like a project that exists.
    LooksLike(String),
    /// It is one edit away from a protected name.
    OneEditFrom(String),
}

/// Judges a name nobody has yet. `lookalikes` are the projects with the same skeleton.
pub(crate) fn new_name(
    ecosystem: Ecosystem,
    key: &NameKey,
    lookalikes: &[String],
    prohibited: &[String],
    protected: &[String],
) -> Option<NameFinding> {
    let module = key.as_str().replace('-', "_");
    if ecosystem == Ecosystem::Pypi && STANDARD_LIBRARY.binary_search(&module.as_str()).is_ok() {
        return Some(NameFinding::StandardLibrary);
    }
    if prohibited.iter().any(|name| name == key.as_str()) {
        return Some(NameFinding::Prohibited);
    }
    if let Some(other) = lookalikes.first() {
        return Some(NameFinding::LooksLike(other.clone()));
    }
    // Short names are all near each other; below five characters only look-alikes are refused.
    protected
        .iter()
        .find(|name| {
            name.len() >= 5 && name.as_str() != key.as_str() && one_edit_apart(name, key.as_str())
        })
        .map(|name| NameFinding::OneEditFrom(name.clone()))
}

/// One insertion, deletion, substitution or swap of neighbours turns `a` into `b`. Both are ASCII.
fn one_edit_apart(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() {
        (a.as_bytes(), b.as_bytes())
    } else {
        (b.as_bytes(), a.as_bytes())
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let (short, long) = (&short[same..], &long[same..]);
    if short.len() == long.len() {
        let substituted = short.get(1..) == long.get(1..);
        let swapped = short.len() >= 2
            && short[0] == long[1]
            && short[1] == long[0]
            && short[2..] == long[2..];
        !short.is_empty() && (substituted || swapped)
    } else {
        short == &long[1..]
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
    use super::*;

    fn key(name: &str) -> NameKey {
        NameKey::from_stored(name)
    }

    #[test]
    fn the_standard_library_list_is_sorted_for_the_binary_search() {
        assert!(STANDARD_LIBRARY.is_sorted());
        assert_eq!(
            new_name(Ecosystem::Pypi, &key("urllib"), &[], &[], &[]),
            Some(NameFinding::StandardLibrary)
        );
    }

    #[test]
    fn edits_are_counted_exactly() {
        for (a, b) in [
            ("requests", "request"),
            ("requests", "rquests"),
            ("requests", "reqeusts"),
            ("requests", "requesta"),
            ("requests", "requestss"),
        ] {
            assert!(one_edit_apart(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("requests", "requests"),
            ("requests", "reqeustz"),
            ("requests", "requ"),
            ("flask", "flaky-x"),
        ] {
            assert!(!one_edit_apart(a, b), "{a} {b}");
        }
    }

    #[test]
    fn lookalikes_prohibited_and_protected_names_are_refused() {
        assert_eq!(
            new_name(Ecosystem::Pypi, &key("f1ask"), &["flask".into()], &[], &[]),
            Some(NameFinding::LooksLike("flask".into()))
        );
        assert_eq!(
            new_name(Ecosystem::Pypi, &key("evil"), &[], &["evil".into()], &[]),
            Some(NameFinding::Prohibited)
        );
        assert_eq!(
            new_name(Ecosystem::Pypi, &key("numpi"), &[], &[], &["numpy".into()]),
            Some(NameFinding::OneEditFrom("numpy".into()))
        );
        assert_eq!(
            new_name(
                Ecosystem::Pypi,
                &key("fine-name"),
                &[],
                &["evil".into()],
                &["numpy".into()]
            ),
            None
        );
    }
}
