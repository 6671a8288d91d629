//! Package names: which may exist, which may be founded, and how clients write them into URLs.
//! ASCII only and by bytes, so that no Unicode case folding lets a look-alike through.

use std::fmt;

use crate::{NameKey, Rejection, archive::path, rejection::quoted};

/// Longest name, scope included.
pub const MAX_NAME: usize = 214;

/// Modules of Node.js, which `require` finds before any package.
const CORE_MODULES: &[&str] = &[
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "sea",
    "sqlite",
    "stream",
    "string_decoder",
    "sys",
    "test",
    "timers",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

/// What every JavaScript object has already. A client that looks a name up in a plain object finds
/// these without their being there.
const OBJECT_MEMBERS: &[&str] = &[
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "prototype",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// Whether a text used as a key would meet a member of `Object.prototype` in a careless client.
pub(super) fn is_object_member(text: &str) -> bool {
    OBJECT_MEMBERS.contains(&text)
}

/// A name as its owners write it: `left-pad` or `@scope/left-pad`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    full: String,
    /// Length of the scope with `@` and `/`; 0 without one.
    scope: usize,
}

impl PackageName {
    /// A name that may exist: some old ones have capitals or marks that new ones may not have.
    ///
    /// # Errors
    /// Refuses what is no name to any client: other characters than letters, digits and
    /// `-_.~!*'()`, beginnings that mean something else, reserved and long names.
    pub fn parse(name: &str) -> Result<Self, Rejection> {
        if name.is_empty() {
            return Err(Rejection::new("name-missing", "The package name is empty."));
        }
        if name.len() > MAX_NAME {
            return Err(Rejection::new(
                "name-too-long",
                format!(
                    "The package name {} has {} bytes.",
                    quoted(name),
                    name.len()
                ),
            )
            .with_remedy(format!("Use at most {MAX_NAME}.")));
        }
        let (scope, base) = match name.strip_prefix('@').map(|rest| rest.split_once('/')) {
            Some(Some((scope, base))) => (Some(scope), base),
            Some(None) => return Err(invalid(name, "has a scope but no name after it")),
            None => (None, name),
        };
        let unreserved = |b: u8| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'_' | b'.' | b'~' | b'!' | b'*' | b'\'' | b'(' | b')'
                )
        };
        for part in scope.into_iter().chain([base]) {
            if part.is_empty() {
                return Err(invalid(name, "has an empty part"));
            }
            if part.starts_with('.') {
                return Err(invalid(name, "has a part that begins with a dot"));
            }
            if !part.bytes().all(unreserved) {
                return Err(invalid(name, "holds characters that do not stand in names"));
            }
        }
        if scope.is_none() && base.starts_with(['_', '-']) {
            return Err(invalid(
                name,
                "begins with a mark that means something else",
            ));
        }
        if ["node_modules", "favicon.ico"]
            .iter()
            .any(|word| base.eq_ignore_ascii_case(word))
        {
            return Err(reserved(
                name,
                "is the name of a folder or file that is always there",
            ));
        }
        Ok(Self {
            full: name.to_owned(),
            scope: scope.map_or(0, |scope| scope.len() + 2),
        })
    }

    /// A name under which a new package may be founded.
    ///
    /// # Errors
    /// Refuses also capitals, the marks `~!*'()`, modules of Node.js, members of every JavaScript
    /// object and devices of Windows.
    pub fn parse_new(name: &str) -> Result<Self, Rejection> {
        let parsed = Self::parse(name)?;
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(invalid(
                name,
                "holds capital letters, which new names may not",
            ));
        }
        if name
            .bytes()
            .any(|b| matches!(b, b'~' | b'!' | b'*' | b'\'' | b'(' | b')'))
        {
            return Err(invalid(
                name,
                "holds one of ~!*'(), which new names may not",
            ));
        }
        let base = parsed.base();
        if base.ends_with('.') || path::is_reserved_on_windows(base) {
            return Err(reserved(name, "can not be a folder on Windows"));
        }
        if parsed.scope().is_none() && CORE_MODULES.contains(&base) {
            return Err(reserved(name, "is a module of Node.js, which comes first"));
        }
        if is_object_member(base) {
            return Err(reserved(name, "is a member of every JavaScript object"));
        }
        Ok(parsed)
    }

    /// The first one or two segments of a raw, still encoded path without a slash in front:
    /// `@scope%2fname/…`, `%40scope%2Fname/…`, `@scope/name/…`, `name/…`. Gives the name and the
    /// raw rest behind its slash, if there is one.
    ///
    /// # Errors
    /// Refuses broken and doubled encoding, and what [`PackageName::parse`] refuses.
    pub fn from_path(raw: &str) -> Result<(Self, Option<&str>), Rejection> {
        let (first, rest) = match raw.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (raw, None),
        };
        let name = decode(first)?;
        if name.starts_with('@') && !name.contains('/') {
            let Some(rest) = rest else {
                return Err(invalid(&name, "has a scope but no name after it"));
            };
            let (second, rest) = match rest.split_once('/') {
                Some((second, rest)) => (second, Some(rest)),
                None => (rest, None),
            };
            let base = decode(second)?;
            return Ok((Self::parse(&format!("{name}/{base}"))?, rest));
        }
        Ok((Self::parse(&name)?, rest))
    }

    /// As its owners write it.
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// With its `@`.
    pub fn scope(&self) -> Option<&str> {
        (self.scope > 0).then(|| &self.full[..self.scope - 1])
    }

    /// Without scope.
    pub fn base(&self) -> &str {
        &self.full[self.scope..]
    }

    /// One project for all spellings that differ in case only. Clients take case for a difference,
    /// so whoever serves a project by this key compares the spelling too: see [`Self::is_spelt`].
    pub fn key(&self) -> NameKey {
        NameKey(self.full.to_ascii_lowercase())
    }

    /// Whether a request for `asked` means this package: old names with capitals answer to their
    /// own spelling only, as with the public registry.
    pub fn is_spelt(&self, asked: &PackageName) -> bool {
        self.full == asked.full
    }

    /// As one path segment: `@scope%2fname`.
    pub fn escaped(&self) -> String {
        self.full.replacen('/', "%2f", 1)
    }

    /// `NAME-VERSION.tgz` without the scope, as the last segment of the tarball's URL.
    pub fn tarball(&self, version: &str) -> String {
        format!("{}-{version}.tgz", self.base())
    }

    /// `@scope/name/-/name-1.0.0.tgz`: where the tarball lies below the registry's URL.
    pub fn tarball_path(&self, version: &str) -> String {
        format!("{}/-/{}", self.full, self.tarball(version))
    }

    /// A coarser form for similarity only: without punctuation. The public registry refuses new
    /// names without scope that have it in common with another.
    pub fn moniker(&self) -> String {
        self.full
            .bytes()
            .filter(|b| !matches!(b, b'-' | b'_' | b'.'))
            .map(|b| char::from(b.to_ascii_lowercase()))
            .collect()
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

fn invalid(name: &str, why: &str) -> Rejection {
    Rejection::new("name-invalid", format!("{} is no package name: it {why}.", quoted(name)))
        .with_remedy("Use lower-case ASCII letters, digits, '-', '_' and '.', with a letter or digit in front; @scope/ may come before.")
}

fn reserved(name: &str, why: &str) -> Rejection {
    Rejection::new(
        "name-reserved",
        format!("{} can not be a package name: it {why}.", quoted(name)),
    )
    .with_remedy("Choose another name, or put it into a scope.")
}

/// Undoes percent encoding once. A percent sign that it would leave is refused, since another
/// reader may decode twice.
///
/// # Errors
/// Refuses broken encoding, and bytes that are no printable ASCII.
pub fn decode(segment: &str) -> Result<String, Rejection> {
    let broken = || {
        Rejection::new(
            "path-encoding",
            format!(
                "The path segment {} is not encoded properly.",
                quoted(segment)
            ),
        )
    };
    let mut out = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(broken());
                };
                (high * 16 + low) as u8
            }
            other => other,
        };
        if !byte.is_ascii_graphic() || byte == b'%' {
            return Err(broken());
        }
        out.push(char::from(byte));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_old_and_new_packages() {
        for (name, old, new) in [
            ("left-pad", true, true),
            ("@scope/left-pad", true, true),
            ("@scope/_x", true, true),
            ("a", true, true),
            ("0", true, true),
            ("JSONStream", true, false),
            ("it's", true, false),
            ("http", true, false),
            ("@scope/http", true, true),
            ("constructor", true, false),
            ("@scope/constructor", true, false),
            ("aux", true, false),
            ("com1.x", true, false),
            ("_x", false, false),
            ("-x", false, false),
            (".x", false, false),
            ("@.s/x", false, false),
            ("@s/.x", false, false),
            ("@s", false, false),
            ("@s/", false, false),
            ("@/x", false, false),
            ("@s/x/y", false, false),
            ("x/y", false, false),
            ("@@s/x", false, false),
            ("x@1", false, false),
            ("x y", false, false),
            ("x\n", false, false),
            ("x\0", false, false),
            ("x%2fy", false, false),
            ("x\\y", false, false),
            ("..", false, false),
            ("__proto__", false, false),
            ("node_modules", false, false),
            ("Node_Modules", false, false),
            ("favicon.ico", false, false),
            ("\u{212a}ivy", false, false),
            ("p\u{430}ndas", false, false),
            ("", false, false),
        ] {
            assert_eq!(PackageName::parse(name).is_ok(), old, "{name:?}");
            assert_eq!(PackageName::parse_new(name).is_ok(), new, "{name:?}");
        }
        assert!(PackageName::parse(&"a".repeat(214)).is_ok());
        assert_eq!(
            PackageName::parse(&"a".repeat(215)).unwrap_err().code,
            "name-too-long"
        );
    }

    #[test]
    fn every_encoding_of_a_path_is_one_name() {
        for raw in [
            "@scope/name",
            "@scope%2fname",
            "@scope%2Fname",
            "%40scope/name",
            "%40scope%2fname",
            "%40scope%2Fname",
            "%40sc%6fpe%2Fn%61me",
        ] {
            let (name, rest) = PackageName::from_path(raw).unwrap();
            assert_eq!((name.as_str(), rest), ("@scope/name", None), "{raw}");
            assert_eq!((name.scope(), name.base()), (Some("@scope"), "name"));
            assert_eq!(name.escaped(), "@scope%2fname");
            assert_eq!(name.tarball_path("1.0.0"), "@scope/name/-/name-1.0.0.tgz");
            let longer = format!("{raw}/-/name-1.0.0.tgz");
            let (name, rest) = PackageName::from_path(&longer).unwrap();
            assert_eq!(
                (name.as_str(), rest),
                ("@scope/name", Some("-/name-1.0.0.tgz")),
                "{raw}"
            );
        }
        assert_eq!(PackageName::from_path("a/b%2fc").unwrap().1, Some("b%2fc"));
        assert_eq!(PackageName::from_path("a/").unwrap().1, Some(""));
    }

    #[test]
    fn paths_that_two_readers_split_differently_are_refused() {
        for raw in [
            "",
            "/",
            "@scope",
            "@scope%2f",
            "@scope%2fa%2fb",
            "@scope/a%2fb",
            "a%2fb",
            "@scope%252fname",
            "%2e%2e",
            "%",
            "%2",
            "%zz",
            "a%00",
            "a%0a",
            "\u{e9}",
            "a%c3%a9",
            "@s%2fx%40",
            "-/package/x",
        ] {
            assert!(PackageName::from_path(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn spellings_share_a_key_but_answer_to_their_own() {
        let (upper, lower) = (
            PackageName::parse("JSONStream").unwrap(),
            PackageName::parse("jsonstream").unwrap(),
        );
        assert_eq!(upper.key(), lower.key());
        assert!(!upper.is_spelt(&lower));
        assert_eq!(
            PackageName::parse("json-stream").unwrap().moniker(),
            upper.moniker()
        );
    }

    proptest! {
        #[test]
        fn names_survive_every_encoding(name in "(@[a-z0-9][a-z0-9._-]{0,5}/)?[a-z0-9][a-zA-Z0-9._~-]{0,10}", all in any::<bool>()) {
            let parsed = PackageName::parse(&name).unwrap();
            let raw: String = name.bytes().map(|b| if all || b == b'/' || b == b'@' { format!("%{b:02X}") } else { char::from(b).to_string() }).collect();
            prop_assert_eq!(&PackageName::from_path(&raw).unwrap().0, &parsed);
            prop_assert_eq!(&PackageName::from_path(&parsed.escaped()).unwrap().0, &parsed);
            prop_assert_eq!(PackageName::from_path(&parsed.tarball_path("1.0.0")).unwrap().0, parsed);
        }

        #[test]
        fn only_ascii_makes_a_name(name in "\\PC{0,12}") {
            if let Ok(name) = PackageName::parse(&name) {
                prop_assert!(name.as_str().is_ascii());
                prop_assert!(!name.base().contains('/'));
            }
        }
    }
}
