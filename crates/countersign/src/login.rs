//! Who the user is at each registry: the credential that is used, the logins that are kept, and how a login comes about.
//!
//! A login is a token that a person granted in a browser with a passkey. It is kept in one file that only the user can
//! read, under the registry's address, and goes to no other.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::failure::{Exit, Failure, Result, plain};
use crate::remote::Remote;
use crate::trusted::{folder, write_private};

/// The variable with a token; it goes before what is kept.
pub const VARIABLE: &str = "COUNTERSIGN_TOKEN";

/// The longest token that is kept, in bytes.
const LONGEST_TOKEN: usize = 1_024;
/// The longest that a person may take, whatever the registry says.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A token and where it is from. No `Debug`: it is a secret.
#[derive(Clone)]
pub struct Credential {
    /// The token.
    pub token: String,
    /// Where it is from.
    pub from: Whence,
}

/// Where a credential is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whence {
    /// `COUNTERSIGN_TOKEN`.
    Variable,
    /// `countersign login`, as this user.
    Login {
        /// The user name.
        user: String,
    },
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => write!(f, "the token in {VARIABLE}"),
            Self::Login { user } => write!(f, "the login as {user}"),
        }
    }
}

/// One login as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The registry's address.
    pub url: Url,
    /// The user name there.
    pub user: String,
    /// When the registry ends it (RFC 3339), where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The secret.
    token: String,
}

impl Login {
    /// As a credential.
    pub fn credential(&self) -> Credential {
        Credential {
            token: self.token.clone(),
            from: Whence::Login {
                user: self.user.clone(),
            },
        }
    }
}

/// The file of logins.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logins {
    #[serde(default, rename = "login")]
    all: Vec<Login>,
}

/// Where logins are kept.
///
/// # Errors
/// Exit 1 without a home directory.
pub fn default_path() -> Result<PathBuf> {
    Ok(folder("XDG_CONFIG_HOME", ".config")?.join("logins.toml"))
}

fn same(one: &Url, other: &Url) -> bool {
    one.as_str().trim_end_matches('/') == other.as_str().trim_end_matches('/')
}

impl Logins {
    /// Reads the file; a missing one is an empty one.
    ///
    /// # Errors
    /// Exit 1 for a file that others can read or that can not be read, exit 2 for one that is damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let unreadable = |error: io::Error| {
            Failure::new(
                Exit::Environment,
                "login-file",
                format!("{} can not be read: {error}.", path.display()),
            )
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Failure::new(
                    Exit::Environment,
                    "login-exposed",
                    format!(
                        "{} holds tokens, and others on this machine can read or change it (mode {:o}).",
                        path.display(),
                        mode & 0o777
                    ),
                )
                .remedy(format!(
                    "If nobody else was here: chmod 600 {}. Otherwise revoke its tokens at the registry's page of tokens, remove the file and log in again.",
                    path.display()
                )));
            }
        }
        // The parser's own words may quote the file, which holds secrets.
        toml::from_str(&text).map_err(|_| {
            Failure::new(
                Exit::Usage,
                "login-file",
                format!("{} is damaged.", path.display()),
            )
            .remedy("Move it away and log in again: countersign login.")
        })
    }

    /// Writes the file, all of it or nothing, for this user's eyes only.
    ///
    /// # Errors
    /// Exit 1 when it can not be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)
            .map_err(|error| Failure::new(Exit::Environment, "login-file", error.to_string()))?;
        let text = format!(
            "# Secrets: tokens of this user, one for each registry. Written by `countersign login`, ended by `countersign logout`.\n\n{text}"
        );
        write_private(path, text.as_bytes())
    }

    /// The login at a registry.
    pub fn at(&self, url: &Url) -> Option<&Login> {
        self.all.iter().find(|login| same(&login.url, url))
    }

    /// The only login there is.
    pub fn only(&self) -> Option<&Login> {
        match self.all.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Keeps a login, and returns the one it takes the place of.
    pub fn keep(&mut self, login: Login) -> Option<Login> {
        let old = self.forget(&login.url);
        self.all.push(login);
        old
    }

    /// Forgets the login at a registry.
    pub fn forget(&mut self, url: &Url) -> Option<Login> {
        let place = self.all.iter().position(|login| same(&login.url, url))?;
        Some(self.all.remove(place))
    }
}

/// A login that waits for a person. No `Debug`: it holds a secret.
pub struct Waiting {
    secret: String,
    /// What the person compares.
    pub code: String,
    /// Where the person says yes.
    pub page: String,
    interval: Duration,
    deadline: Instant,
}

fn malformed(remote: &Remote) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "answer-malformed",
        format!("{} does not answer as a login goes.", remote.site()),
    )
    .remedy("Is this the address of a Countersign registry? A newer client may know more.")
}

/// Asks a registry to be let in; `client` is how the person there sees this program, `action` what the token is for.
///
/// # Errors
/// As [`Remote::call`]; exit 5 for an answer that is none.
pub fn begin(remote: &Remote, client: &str, action: &str) -> Result<Waiting> {
    let answer = remote.call(
        Method::POST,
        "/api/v1/login",
        Some(&json!({"client": client, "action": action})),
    )?;
    let text = |name: &str| {
        answer[name]
            .as_str()
            .filter(|text| !text.is_empty() && text.len() <= LONGEST_TOKEN)
            .ok_or_else(|| malformed(remote))
    };
    let secret = text("device_code")?;
    // It goes into a header later, and the page to a browser: nothing else fits there.
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed(remote));
    }
    let page = Url::parse(text("url")?).map_err(|_| malformed(remote))?;
    if !matches!(page.scheme(), "https" | "http") {
        return Err(malformed(remote));
    }
    Ok(Waiting {
        secret: secret.to_owned(),
        code: plain(text("user_code")?),
        page: page.to_string(),
        interval: Duration::from_secs(answer["interval"].as_u64().unwrap_or(5).clamp(1, 60)),
        deadline: Instant::now() + PATIENCE,
    })
}

/// Waits until a person has decided. `say` hears about trouble on the way; what is out of reach for a while is asked
/// again.
///
/// # Errors
/// Exit 4 where the person said no or nobody said anything in time; as [`Remote::call`].
pub fn wait(remote: &Remote, waiting: &Waiting, say: &dyn Fn(&str)) -> Result<Login> {
    let body = json!({"device_code": waiting.secret});
    let mut interval = waiting.interval;
    let mut troubled = false;
    loop {
        std::thread::sleep(interval);
        match remote.call(Method::POST, "/api/v1/login/poll", Some(&body)) {
            Ok(answer) if answer["status"] == "granted" => return granted(remote, &answer),
            Ok(answer) if answer["status"] == "waiting" => troubled = false,
            Ok(_) => return Err(malformed(remote)),
            Err(failure) if failure.code == "login-unknown" => return Err(late(remote)),
            Err(failure) if failure.code == "login-too-fast" => interval += Duration::from_secs(5),
            Err(failure) if failure.exit == Exit::Unreachable => {
                if !troubled {
                    say(&format!("{} Still trying.", failure.message));
                }
                troubled = true;
            }
            Err(failure) => return Err(failure),
        }
        if Instant::now() > waiting.deadline {
            return Err(late(remote));
        }
    }
}

fn late(remote: &Remote) -> Failure {
    Failure::new(
        Exit::Refused,
        "login-expired",
        "Nobody said yes in time; the code is no longer good.",
    )
    .remedy(format!(
        "Begin anew: countersign login --registry {}",
        remote.site()
    ))
}

fn granted(remote: &Remote, answer: &Value) -> Result<Login> {
    let text = |name: &str| {
        answer[name]
            .as_str()
            .filter(|text| !text.is_empty() && text.len() <= LONGEST_TOKEN)
    };
    let token = text("token")
        .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| malformed(remote))?;
    Ok(Login {
        url: Url::parse(remote.site()).map_err(|_| malformed(remote))?,
        user: plain(text("user").ok_or_else(|| malformed(remote))?),
        expires: text("expires").map(plain),
        token: token.to_owned(),
    })
}

/// Ends the token that `remote` carries, at the registry. `false` where it had ended already.
///
/// # Errors
/// As [`Remote::call`].
pub fn end(remote: &Remote) -> Result<bool> {
    match remote.call(Method::DELETE, "/api/v1/token", None) {
        Ok(_) => Ok(true),
        Err(failure) if failure.unauthenticated => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(url: &str, token: &str) -> Login {
        Login {
            url: Url::parse(url).unwrap(),
            user: "ada".to_owned(),
            expires: None,
            token: token.to_owned(),
        }
    }

    #[test]
    fn a_login_is_kept_by_its_registry_and_for_no_other() {
        let mut logins = Logins::default();
        assert!(logins.keep(login("https://one.example", "a")).is_none());
        assert!(logins.keep(login("https://two.example/x", "b")).is_none());
        let old = logins.keep(login("https://one.example/", "c")).unwrap();
        assert_eq!(old.credential().token, "a");
        let at = |url: &str| {
            let url = Url::parse(url).unwrap();
            logins.at(&url).map(|login| login.credential().token)
        };
        assert_eq!(at("https://one.example").as_deref(), Some("c"));
        assert_eq!(at("https://two.example/x/").as_deref(), Some("b"));
        for other in [
            "http://one.example",
            "https://one.example:444",
            "https://two.example",
            "https://one.example.evil",
        ] {
            assert!(at(other).is_none(), "{other}");
        }
        assert!(logins.only().is_none());
    }

    #[test]
    fn the_file_is_for_the_users_eyes_only_and_says_nothing_of_itself_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/logins.toml");
        let mut logins = Logins::load(&path).unwrap();
        logins.keep(login("https://one.example", "csgn_u_secret"));
        logins.save(&path).unwrap();
        assert!(Logins::load(&path).unwrap().only().is_some());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let failure = Logins::load(&path).err().unwrap();
            assert_eq!(&*failure.code, "login-exposed");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&path, "login = \"csgn_u_secret\"").unwrap();
        let failure = Logins::load(&path).err().unwrap();
        assert!(!failure.to_string().contains("csgn_u_secret"), "{failure}");
    }
}
