//! The kinds of values that the configuration file takes. Each says in one phrase what it expects.

use std::path::PathBuf;
use std::time::Duration;

use countersign_formats::osv::Grade;
use countersign_registry::model::{Level, Visibility};
use countersign_registry::oidc::{Provider, Refused};
use countersign_registry::{AdvisoryBlock, AdvisoryFeed, DeletePolicy, LossRule, ScanHold};
use toml::de::DeValue;
use url::Url;

/// A value of the configuration file.
pub trait Setting: Sized {
    /// What stands after "expected …" in an error.
    const EXPECTED: &'static str;

    /// Reads the value; the error is a sentence that says what is wrong with it (empty: only the type is).
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

impl Setting for LossRule {
    const EXPECTED: &'static str = "\"refuse\" or \"warn\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "refuse" => Ok(Self::Refuse),
            "warn" => Ok(Self::Warn),
            other => Err(format!("{other:?} is neither")),
        }
    }
}

impl Setting for ScanHold {
    const EXPECTED: &'static str = "\"never\", \"new-projects\" or \"always\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "never" => Ok(Self::Never),
            "new-projects" => Ok(Self::NewProjects),
            "always" => Ok(Self::Always),
            other => Err(format!("{other:?} is none of them")),
        }
    }
}

/// Built-in instances of Sigstore by their names, each at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoots(pub Vec<String>);

impl Setting for TrustRoots {
    const EXPECTED: &'static str = "a list of \"public-good\" and \"github\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut names: Vec<String> = Vec::new();
        for one in value.as_array().ok_or_else(String::new)?.iter() {
            let name = text(one.get_ref())?;
            if !matches!(name, "public-good" | "github") {
                return Err(format!("{name:?} is not built in"));
            }
            if names.iter().any(|other| other == name) {
                return Err(format!("{name:?} stands in it twice"));
            }
            names.push(name.to_owned());
        }
        Ok(Self(names))
    }
}

/// Reads a setting whose TOML form is a string.
fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(String::new)
}

impl Setting for String {
    const EXPECTED: &'static str = "a string in double quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = text(value)?;
        if text.trim().is_empty() {
            Err("it is empty".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path in double quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        String::read(value).map(PathBuf::from)
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false, without quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(String::new)
    }
}

impl Setting for Url {
    const EXPECTED: &'static str = "a URL such as \"https://packages.example.org\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        public_url(text(value)?)
    }
}

/// Parses the public URL of an instance: http or https, no path, query, fragment or credentials.
pub fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is not a URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "its scheme is {:?}, not http or https",
            url.scheme()
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries a user name or password, and it is public".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("it has a path, but some package clients drop path prefixes; give the registry a host of its own".to_owned());
    }
    Ok(url)
}

/// A whole number above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl Setting for Count {
    const EXPECTED: &'static str = "a whole number above 0";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let number = value.as_integer().ok_or_else(String::new)?;
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(0) => Err("it is 0".to_owned()),
            Ok(count) => Ok(Self(count)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A number of days that a person can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub u32);

impl Setting for Days {
    const EXPECTED: &'static str = "a whole number of days from 1 to 366, without quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let count = Count::read(value)?.0;
        u32::try_from(count)
            .ok()
            .filter(|days| *days <= 366)
            .map(Self)
            .ok_or_else(|| format!("it is {count}"))
    }
}

/// Providers whose issuers are known from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Providers(pub Vec<Provider>);

impl Setting for Providers {
    const EXPECTED: &'static str = "a list such as [\"github\", \"gitlab\"]";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut providers = Vec::new();
        for item in value.as_array().ok_or_else(String::new)?.iter() {
            let name = text(item.get_ref())?;
            let provider: Provider = name
                .parse()
                .map_err(|refused: Refused| refused.to_string())?;
            if provider == Provider::Generic {
                return Err(format!(
                    "{name:?} has no issuer of its own, add yours with `countersignd admin issuer add`"
                ));
            }
            if providers.contains(&provider) {
                return Err(format!("{name:?} stands in it twice"));
            }
            providers.push(provider);
        }
        Ok(Self(providers))
    }
}

/// An OpenID provider that people sign in with, its secret still in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInProviderLine {
    /// What people call it; a word in URLs.
    pub name: String,
    /// Its URL.
    pub issuer: String,
    /// What this registry is called there.
    pub client_id: String,
    /// Where the secret is.
    pub secret: PathBuf,
    /// A certificate authority in PEM to trust for it besides the machine's own.
    pub ca: Option<PathBuf>,
    /// What its words are worth.
    pub strengths: Vec<(String, Level)>,
}

/// OpenID providers that people sign in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInProviders(pub Vec<SignInProviderLine>);

impl Setting for SignInProviders {
    const EXPECTED: &'static str = "a list such as [\"company https://login.example.org CLIENT-ID SECRET-FILE mfa=two-factor\"]";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut providers: Vec<SignInProviderLine> = Vec::new();
        for item in value.as_array().ok_or_else(String::new)?.iter() {
            let line = text(item.get_ref())?;
            let mut words = line.split_whitespace();
            let (Some(name), Some(issuer), Some(client), Some(secret)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(format!(
                    "{line:?} has not the four parts name, issuer, client id and secret file"
                ));
            };
            let plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !plain || name.len() > 32 {
                return Err(format!(
                    "{name:?} is not a name of at most 32 letters, digits and -"
                ));
            }
            if providers.iter().any(|other| other.name == name) {
                return Err(format!("{name:?} stands in it twice"));
            }
            let url = Url::parse(issuer).map_err(|_| format!("{issuer:?} is not a URL"))?;
            if url.scheme() != "https" {
                return Err(format!("{issuer:?} does not begin with https://"));
            }
            let mut strengths = Vec::new();
            let mut ca = None;
            for word in words {
                let (said, level) = word
                    .split_once('=')
                    .ok_or_else(|| format!("{word:?} is not WORD=LEVEL"))?;
                if said == "ca" {
                    if level.is_empty() || ca.replace(PathBuf::from(level)).is_some() {
                        return Err(format!("{word:?} is not one ca=FILE"));
                    }
                    continue;
                }
                strengths.push((said.to_owned(), level.parse()?));
            }
            providers.push(SignInProviderLine {
                name: name.to_owned(),
                issuer: issuer.to_owned(),
                client_id: client.to_owned(),
                secret: PathBuf::from(secret),
                ca,
                strengths,
            });
        }
        Ok(Self(providers))
    }
}

/// Feeds of advisories: name and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedLines(pub Vec<(String, PathBuf)>);

impl Setting for FeedLines {
    const EXPECTED: &'static str = "a list such as [\"osv /var/lib/osv\"]";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut feeds: Vec<(String, PathBuf)> = Vec::new();
        for item in value.as_array().ok_or_else(String::new)?.iter() {
            let line = text(item.get_ref())?;
            let (name, path) = line
                .split_once(' ')
                .map(|(name, path)| (name.trim(), path.trim()))
                .filter(|(name, path)| !name.is_empty() && !path.is_empty())
                .ok_or_else(|| format!("{line:?} has not the two parts name and path"))?;
            if !AdvisoryFeed::may_be_called(name) {
                return Err(format!("{name:?} is no name for a feed"));
            }
            if feeds.iter().any(|(other, _)| other == name) {
                return Err(format!("{name:?} stands in it twice"));
            }
            feeds.push((name.to_owned(), PathBuf::from(path)));
        }
        Ok(Self(feeds))
    }
}

impl Setting for AdvisoryBlock {
    const EXPECTED: &'static str =
        "\"never\", \"malware\", \"critical\", \"high\", \"medium\" or \"low\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "never" => Ok(Self::Never),
            "malware" => Ok(Self::Malware),
            "critical" => Ok(Self::From(Grade::Critical)),
            "high" => Ok(Self::From(Grade::High)),
            "medium" => Ok(Self::From(Grade::Medium)),
            "low" => Ok(Self::From(Grade::Low)),
            _ => Err(String::new()),
        }
    }
}

/// A number of days, or no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenDays(pub Option<u64>);

impl Setting for OpenDays {
    const EXPECTED: &'static str = "a whole number of days above 0, or \"always\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some("always") => Ok(Self(None)),
            Some(_) => Err(String::new()),
            None => Count::read(value).map(|count| Self(Some(count.0))),
        }
    }
}

/// Project names in normalised form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Setting for Names {
    const EXPECTED: &'static str = "a list such as [\"name-one\", \"name-two\"]";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let python = countersign_formats::format(countersign_formats::Ecosystem::Pypi);
        let mut names = Vec::new();
        for item in value.as_array().ok_or_else(String::new)?.iter() {
            let name = text(item.get_ref())?;
            let key = python
                .name_key(name)
                .map_err(|rejection| rejection.message)?;
            if key.as_str() != name {
                return Err(format!(
                    "{name:?} is not normalised, write {:?}",
                    key.as_str()
                ));
            }
            names.push(name.to_owned());
        }
        Ok(Self(names))
    }
}

/// Where vulnerabilities are reported: one address, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contacts(pub Vec<String>);

impl Setting for Contacts {
    const EXPECTED: &'static str = "an address such as \"mailto:security@example.org\" or \"https://example.org/report\", or a list of such";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let one = |value: &DeValue<'_>| {
            let address = text(value)?;
            let plain = !address
                .contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c));
            let good = ["mailto:", "https://", "tel:"]
                .iter()
                .any(|scheme| address.len() > scheme.len() && address.starts_with(scheme));
            match good && plain {
                true => Ok(address.to_owned()),
                false => Err(format!(
                    "{address:?} is not an address that RFC 9116 allows"
                )),
            }
        };
        let Some(list) = value.as_array() else {
            return one(value).map(|address| Self(vec![address]));
        };
        let all: Vec<_> = list
            .iter()
            .map(|item| one(item.get_ref()))
            .collect::<Result<_, _>>()?;
        match all.is_empty() {
            true => Err("it is empty; leave the line out".to_owned()),
            false => Ok(Self(all)),
        }
    }
}

/// An address that `security.txt` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityAddress(pub String);

impl Setting for SecurityAddress {
    const EXPECTED: &'static str =
        "an address that begins with \"https://\", \"dns:\" or \"openpgp4fpr:\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let address = text(value)?;
        let plain = !address.contains(|c: char| c.is_whitespace() || c.is_control());
        match plain
            && ["https://", "dns:", "openpgp4fpr:"]
                .iter()
                .any(|scheme| address.starts_with(scheme))
        {
            true => Ok(Self(address.to_owned())),
            false => Err(format!("{address:?} does not")),
        }
    }
}

/// Tags of languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages(pub Vec<String>);

impl Setting for Languages {
    const EXPECTED: &'static str = "a list such as [\"en\", \"de\"]";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut tags = Vec::new();
        for item in value.as_array().ok_or_else(String::new)?.iter() {
            let tag = text(item.get_ref())?;
            let good = (2..=35).contains(&tag.len())
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if !good {
                return Err(format!("{tag:?} is no tag of a language"));
            }
            tags.push(tag.to_owned());
        }
        match tags.is_empty() {
            true => Err("it is empty; leave the line out".to_owned()),
            false => Ok(Self(tags)),
        }
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub jiff::civil::Date);

impl Setting for Day {
    const EXPECTED: &'static str = "a day such as \"2027-06-30\", in double quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let day = text(value)?;
        day.parse()
            .map(Self)
            .map_err(|_| format!("{day:?} is no day"))
    }
}

/// Addresses of Cargo indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CargoIndexes(pub Vec<String>);

impl Setting for CargoIndexes {
    const EXPECTED: &'static str = "a list such as [\"https://github.com/rust-lang/crates.io-index\", \"sparse+https://old.example.org/index/\"]";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut indexes = Vec::new();
        for item in value.as_array().ok_or_else(String::new)?.iter() {
            let url = text(item.get_ref())?;
            countersign_formats::cargo::Source::parse(url).map_err(|refused| refused.message)?;
            indexes.push(url.to_owned());
        }
        Ok(Self(indexes))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let count: u64 = digits
            .parse()
            .map_err(|_| "it does not begin with a number".to_owned())?;
        let unit: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => {
                return Err(format!(
                    "{other:?} is not a unit; use B, kB, MB, GB, KiB, MiB or GiB"
                ));
            }
        };
        count
            .checked_mul(unit)
            .map(Self)
            .ok_or_else(|| "it is too large".to_owned())
    }
}

impl Setting for Bytes {
    const EXPECTED: &'static str = "a size such as \"256 MiB\" or a number of bytes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some(text) => text.parse(),
            None => Count::read(value).map(|count| Self(count.0)),
        }
    }
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let count: u64 = digits
            .parse()
            .map_err(|_| format!("{text:?} does not begin with a number"))?;
        let unit = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            "" => {
                return Err(format!(
                    "{text:?} has no unit; write {text}s, {text}m, {text}h or {text}d"
                ));
            }
            other => {
                return Err(format!(
                    "{other:?} is not a unit of time; use s, m, h, d or w"
                ));
            }
        };
        let seconds = count
            .checked_mul(unit)
            .filter(|seconds| *seconds <= 100 * 366 * 86_400);
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| "it is longer than a century".to_owned())
    }
}

impl Setting for Span {
    const EXPECTED: &'static str = "a time such as \"20s\", \"72h\" or \"30d\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text(value)?.parse()
    }
}

impl Setting for Visibility {
    const EXPECTED: &'static str = "\"public\" or \"restricted\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "public" => Ok(Self::Public),
            "restricted" | "private" => Ok(Self::Restricted),
            _ => Err(String::new()),
        }
    }
}

impl Setting for DeletePolicy {
    const EXPECTED: &'static str = "\"never\", \"always\", \"npm-like\", \"crates-like\", \"immutable\" or a time after publishing such as \"72h\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            name if Self::preset(name).is_some() => Self::preset(name).ok_or_else(String::new),
            span => span.parse::<Span>().map(|span| Self::Within(span.0)),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "\"auto\", \"human\" or \"json\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(String::new()),
        }
    }
}
