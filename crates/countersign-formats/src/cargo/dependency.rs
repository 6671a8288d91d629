//! Dependencies of crates, and from which registry they come.

use serde::{Deserialize, Serialize};

use crate::{Rejection, rejection::quoted};

/// How crates.io is written where an index is named by its address.
pub const CRATES_IO_INDEX: &str = "https://github.com/rust-lang/crates.io-index";
/// The other address of crates.io; in two parts, since it is an identifier here and no place to go to.
pub const CRATES_IO_SPARSE: &str = concat!("sparse+https://index.", "crates.io/");

/// Longest address of an index.
const MAX_URL: usize = 512;

/// When a dependency is used.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Always.
    #[default]
    Normal,
    /// For tests and examples only.
    Dev,
    /// For the build script.
    Build,
}

impl Kind {
    /// The word in the index.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Normal => "normal",
            Kind::Dev => "dev",
            Kind::Build => "build",
        }
    }
}

/// The registry from which a dependency comes, said outright.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The public registry.
    CratesIo,
    /// The registry with this index: `sparse+https://…` or the address of a git repository.
    Index(String),
}

impl Source {
    /// A source from the address of an index.
    ///
    /// # Errors
    /// Refuses what is no address of an index elsewhere: files, user names with passwords, blanks.
    pub fn parse(url: &str) -> Result<Self, Rejection> {
        let bad = |why: &str| {
            Rejection::new(
                "dependency-registry",
                format!(
                    "{} is no address of a registry's index: {why}.",
                    quoted(url)
                ),
            )
            .with_remedy(
                "Write \"sparse+https://HOST/PATH/\", or the https or ssh address of a git index.",
            )
        };
        if url.len() > MAX_URL {
            return Err(bad("it is too long"));
        }
        let safe = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'`');
        if !url.bytes().all(safe) {
            return Err(bad(
                "it holds blanks, quotes, or characters that are not ASCII",
            ));
        }
        let plain = url.strip_prefix("sparse+").unwrap_or(url);
        let (scheme, rest) = plain
            .split_once("://")
            .ok_or_else(|| bad("it has no scheme"))?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" => {}
            "ssh" if plain == url => {}
            _ => return Err(bad("its scheme is not https, http or ssh")),
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match host.rsplit_once('@') {
            Some((user, _)) if scheme.eq_ignore_ascii_case("ssh") && !user.contains(':') => {}
            Some(_) => return Err(bad("it holds a user name or password")),
            None => {}
        }
        if host.is_empty() || host.ends_with('@') {
            return Err(bad("it has no host"));
        }
        let form = canonical(url);
        if form == canonical(CRATES_IO_INDEX) || form == canonical(CRATES_IO_SPARSE) {
            return Ok(Source::CratesIo);
        }
        Ok(Source::Index(url.to_owned()))
    }

    /// What an index at `own`, or a request to publish there, says of this source: nothing when it is
    /// that registry itself.
    pub fn in_index_of<'a>(&'a self, own: &OwnIndex) -> Option<&'a str> {
        if own.is(self) {
            return None;
        }
        Some(match self {
            Source::CratesIo => CRATES_IO_INDEX,
            Source::Index(url) => url,
        })
    }

    /// The inverse of [`Source::in_index_of`]: what an index at `own` means.
    ///
    /// # Errors
    /// As [`Source::parse`].
    pub fn from_index_of(own: &OwnIndex, registry: Option<&str>) -> Result<Self, Rejection> {
        match registry {
            None => Ok(own.source().clone()),
            Some(url) => {
                let source = Source::parse(url)?;
                Ok(if own.is(&source) {
                    own.source().clone()
                } else {
                    source
                })
            }
        }
    }

    /// The address, for people and policies.
    pub fn url(&self) -> &str {
        match self {
            Source::CratesIo => CRATES_IO_INDEX,
            Source::Index(url) => url,
        }
    }
}

/// The address under which this registry's own index is known to clients, and others that mean the
/// same (before a move, say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnIndex {
    source: Source,
    aliases: Vec<Source>,
}

impl OwnIndex {
    /// From the index's address as clients configure it, `sparse+https://HOST/cargo/index/`.
    ///
    /// # Errors
    /// As [`Source::parse`].
    pub fn new(url: &str) -> Result<Self, Rejection> {
        Ok(Self {
            source: Source::parse(url)?,
            aliases: Vec::new(),
        })
    }

    /// Adds another address of the same index.
    ///
    /// # Errors
    /// As [`Source::parse`].
    pub fn with_alias(mut self, url: &str) -> Result<Self, Rejection> {
        self.aliases.push(Source::parse(url)?);
        Ok(self)
    }

    /// Whether a source is this registry.
    pub fn is(&self, source: &Source) -> bool {
        let same = |own: &Source| match (own, source) {
            (Source::CratesIo, Source::CratesIo) => true,
            (Source::Index(own), Source::Index(other)) => canonical(own) == canonical(other),
            _ => false,
        };
        same(&self.source) || self.aliases.iter().any(same)
    }

    /// This registry as a source.
    pub fn source(&self) -> &Source {
        &self.source
    }
}

/// The form under which two addresses are one registry: scheme and host in lower case, no standard
/// port, no slash and no `.git` at the end. Paths keep their case, except on the host of which cargo
/// knows that it does not count.
fn canonical(url: &str) -> String {
    let (sparse, plain) = match url.strip_prefix("sparse+") {
        Some(plain) => ("sparse+", plain),
        None => ("", url),
    };
    let Some((scheme, rest)) = plain.split_once("://") else {
        return url.to_owned();
    };
    let scheme = scheme.to_ascii_lowercase();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => ":22",
    };
    let host = host.strip_suffix(port).unwrap_or(&host);
    let mut path = path.trim_end_matches('/');
    if sparse.is_empty() {
        path = path.strip_suffix(".git").unwrap_or(path);
    }
    let path = if host == "github.com" {
        path.to_ascii_lowercase()
    } else {
        path.to_owned()
    };
    format!("{sparse}{scheme}://{host}{path}")
}

/// One dependency of a crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CrateDependency {
    /// The crate's name in its registry.
    pub package: String,
    /// Another name that the program uses for it, where `package` is written in `Cargo.toml`.
    pub alias: Option<String>,
    /// Which versions will do, as cargo writes it (`^1.0`).
    pub req: String,
    /// Features asked of it.
    pub features: Vec<String>,
    /// Whether only a feature brings it in.
    pub optional: bool,
    /// Whether its default features are asked for.
    pub default_features: bool,
    /// The platform for which it is needed; all, when there is none.
    pub target: Option<String>,
    /// When it is used.
    pub kind: Kind,
    /// From where.
    pub source: Source,
}

impl CrateDependency {
    /// The name in `Cargo.toml` and in features.
    pub fn name_in_toml(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnIndex {
        OwnIndex::new("sparse+https://reg.example/cargo/index/").unwrap()
    }

    #[test]
    fn silence_means_the_own_registry_and_never_crates_io() {
        let own = own();
        let read = |text| Source::from_index_of(&own, text).unwrap();
        assert_eq!(
            read(None),
            Source::Index("sparse+https://reg.example/cargo/index/".to_owned())
        );
        assert_eq!(read(Some(CRATES_IO_INDEX)), Source::CratesIo);
        assert_eq!(read(None).in_index_of(&own), None);
        assert_eq!(Source::CratesIo.in_index_of(&own), Some(CRATES_IO_INDEX));
        let public = OwnIndex::new(CRATES_IO_SPARSE).unwrap();
        assert_eq!(Source::CratesIo.in_index_of(&public), None);
        assert_eq!(
            Source::from_index_of(&public, None).unwrap(),
            Source::CratesIo
        );
        assert_eq!(
            own.source().in_index_of(&public),
            Some("sparse+https://reg.example/cargo/index/")
        );
    }

    #[test]
    fn the_own_registry_is_known_in_every_spelling_and_no_other_is_taken_for_it() {
        let own = own()
            .with_alias("sparse+http://old.example/index/")
            .unwrap();
        for url in [
            "sparse+https://reg.example/cargo/index/",
            "sparse+https://reg.example/cargo/index",
            "sparse+https://REG.example:443/cargo/index//",
            "sparse+HTTPS://reg.example/cargo/index/",
            "sparse+http://old.example:80/index/",
        ] {
            let source = Source::parse(url).unwrap();
            assert_eq!(source.in_index_of(&own), None, "{url}");
            assert_eq!(
                &Source::from_index_of(&own, Some(url)).unwrap(),
                own.source()
            );
        }
        for url in [
            "https://reg.example/cargo/index/",
            "sparse+http://reg.example/cargo/index/",
            "sparse+https://reg.example/cargo/Index/",
            "sparse+https://reg.example:8443/cargo/index/",
            "sparse+https://reg.example.evil/cargo/index/",
            "sparse+https://reg.example/cargo/index/x/",
            "sparse+https://reg.example/cargo/index/?a",
            "sparse+https://reg.example./cargo/index/",
        ] {
            let source = Source::parse(url).unwrap();
            assert_eq!(source.in_index_of(&own), Some(url), "{url}");
        }
    }

    #[test]
    fn crates_io_is_known_under_both_addresses() {
        for url in [
            CRATES_IO_INDEX,
            CRATES_IO_SPARSE,
            "https://github.com/rust-lang/crates.io-index/",
            "https://github.com/rust-lang/crates.io-index.git",
            "https://GitHub.com/Rust-Lang/crates.io-index",
            CRATES_IO_SPARSE.trim_end_matches('/'),
        ] {
            assert_eq!(Source::parse(url).unwrap(), Source::CratesIo, "{url}");
        }
        for url in [
            "https://github.com/rust-lang/crates.io-index2",
            "https://github.com.evil/rust-lang/crates.io-index",
            CRATES_IO_SPARSE.trim_start_matches("sparse+"),
            &CRATES_IO_SPARSE.replace("https", "http"),
            "sparse+https://github.com/rust-lang/crates.io-index",
        ] {
            assert_ne!(Source::parse(url).unwrap(), Source::CratesIo, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_elsewhere_is_refused() {
        let long = format!("https://a.example/{}", "a".repeat(600));
        for url in [
            "",
            "private",
            "file:///etc/index",
            "sparse+file:///etc/index",
            "sparse+ssh://git@a.example/x",
            "https://",
            "https:///x",
            "https://user@a.example/x",
            "https://user:pw@a.example/x",
            "ssh://git:pw@a.example/x",
            "ssh://git@/x",
            "https://a.example/a b",
            "https://a.example/\n",
            "https://a.example/\"",
            "https://\u{430}.example/",
            "javascript:alert(1)",
            "sparse+sparse+https://a.example/",
            &long,
        ] {
            assert_eq!(
                Source::parse(url).unwrap_err().code,
                "dependency-registry",
                "{url}"
            );
        }
        assert!(Source::parse("ssh://git@a.example/index.git").is_ok());
    }
}
