//! Where a request goes, read from its raw path: a router that decodes first would split `@scope%2fname` in the wrong
//! place. Pure.

use countersign_formats::npm::name::{PackageName, decode};
use countersign_registry::{Error, Kind};

use crate::error::{no_such_page, shown};

/// What an address below the registry's URL names. Names are decoded, secrets are as they stand in the path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'p> {
    /// The registry itself.
    Root,
    /// `-/ping`
    Ping,
    /// `-/whoami`
    Whoami,
    /// `-/v1/login`
    Login,
    /// `-/v1/login/{secret}`
    LoginDone(&'p str),
    /// `-/user/token/{token}`
    Logout(&'p str),
    /// `-/user/org.couchdb.user:{name}`, with or without a revision
    User(String),
    /// `-/user/{name}/package`
    UserPackages(String),
    /// `-/npm/v1/user`
    Profile,
    /// `-/npm/v1/tokens`
    Tokens,
    /// `-/npm/v1/tokens/token/{key}`
    Token(String),
    /// `-/npm/v1/security/advisories/bulk`
    Advisories,
    /// `-/npm/v1/security/audits` and `…/quick`
    Audit,
    /// `-/v1/search`
    Search,
    /// `-/_view/starredByUser`
    Starred,
    /// `-/package/{name}/dist-tags`
    Tags(PackageName),
    /// `-/package/{name}/dist-tags/{tag}`
    Tag(PackageName, String),
    /// `-/package/{name}/access`
    Access(PackageName),
    /// `-/package/{name}/visibility`
    Visibility(PackageName),
    /// `-/package/{name}/collaborators`
    Collaborators(PackageName),
    /// `-/org/{organisation}/user`
    OrgUsers(String),
    /// `-/org/{organisation}/team`
    OrgTeams(String),
    /// `-/org/{organisation}/package`
    OrgPackages(String),
    /// `-/team/{organisation}/{team}`
    Team(String, String),
    /// `-/team/{organisation}/{team}/user`
    TeamUsers(String, String),
    /// `-/team/{organisation}/{team}/package`
    TeamPackages(String, String),
    /// `{name}`
    Package(PackageName),
    /// `{name}/-rev/{revision}`
    PackageAt(PackageName, String),
    /// `{name}/-/{file}`
    Tarball(PackageName, String),
    /// `{name}/-/{file}/-rev/{revision}`
    TarballAt(PackageName, String),
    /// `{name}/{version or tag}`
    Version(PackageName, String),
}

impl<'p> Place<'p> {
    /// Reads a raw path without its first slash and without the place of the registry.
    ///
    /// # Errors
    /// `no-such-page`; what is no name of a package can not be here: `project-unknown`.
    pub(super) fn read(raw: &'p str) -> Result<Self, Error> {
        if raw.is_empty() {
            return Ok(Self::Root);
        }
        match raw.strip_prefix("-/") {
            Some(rest) => Self::service(rest).ok_or_else(|| no_such_page(&format!("/npm/{raw}"))),
            None => Self::package(raw),
        }
    }

    /// What stands below `-/`.
    fn service(raw: &'p str) -> Option<Self> {
        if let Some(rest) = raw.strip_prefix("package/") {
            return Self::of_package(rest);
        }
        let parts: Vec<&str> = raw.split('/').collect();
        let text = |part: &str| decode(part).ok();
        Some(match parts[..] {
            ["ping"] => Self::Ping,
            ["whoami"] => Self::Whoami,
            ["v1", "login"] => Self::Login,
            ["v1", "login", secret] if !secret.is_empty() => Self::LoginDone(secret),
            ["v1", "search"] => Self::Search,
            ["_view", "starredByUser"] => Self::Starred,
            ["user", "token", token] if !token.is_empty() => Self::Logout(token),
            ["user", name, "package"] => Self::UserPackages(text(name)?),
            ["user", who] | ["user", who, "-rev", _] => {
                let who = text(who)?;
                Self::User(
                    who.strip_prefix("org.couchdb.user:")
                        .unwrap_or(&who)
                        .to_owned(),
                )
            }
            ["npm", "v1", "user"] => Self::Profile,
            ["npm", "v1", "tokens"] => Self::Tokens,
            ["npm", "v1", "tokens", "token", key] => Self::Token(text(key)?),
            ["npm", "v1", "security", "advisories", "bulk"] => Self::Advisories,
            ["npm", "v1", "security", "audits"] | ["npm", "v1", "security", "audits", "quick"] => {
                Self::Audit
            }
            ["org", name, "user"] => Self::OrgUsers(scope(name)?),
            ["org", name, "team"] => Self::OrgTeams(scope(name)?),
            ["org", name, "package"] => Self::OrgPackages(scope(name)?),
            ["team", name, team] => Self::Team(scope(name)?, text(team)?),
            ["team", name, team, "user"] => Self::TeamUsers(scope(name)?, text(team)?),
            ["team", name, team, "package"] => Self::TeamPackages(scope(name)?, text(team)?),
            _ => return None,
        })
    }

    /// What stands below `-/package/`.
    fn of_package(raw: &str) -> Option<Self> {
        let (name, rest) = PackageName::from_path(raw).ok()?;
        let rest: Vec<&str> = rest?.split('/').collect();
        Some(match rest[..] {
            ["dist-tags"] => Self::Tags(name),
            ["dist-tags", tag] => Self::Tag(name, decode(tag).ok()?),
            ["access"] => Self::Access(name),
            ["visibility"] => Self::Visibility(name),
            ["collaborators"] => Self::Collaborators(name),
            _ => return None,
        })
    }

    fn package(raw: &str) -> Result<Self, Error> {
        let (name, rest) = PackageName::from_path(raw).map_err(|rejection| {
            let error = Error::new(
                Kind::NotFound,
                "project-unknown",
                format!("There is no package {} here.", shown(raw)),
            );
            error.remedy(rejection.to_string())
        })?;
        let Some(rest) = rest else {
            return Ok(Self::Package(name));
        };
        let text = |part: &str| decode(part).map_err(Error::from);
        let parts: Vec<&str> = rest.split('/').collect();
        Ok(match parts[..] {
            // Some clients end the address of a package with a slash.
            [""] => Self::Package(name),
            ["-rev", revision] => Self::PackageAt(name, text(revision)?),
            ["-", file] => Self::Tarball(name, text(file)?),
            // With the scope once more, as the attachment of a publication is called.
            ["-", inner, file] if text(inner).ok().as_deref() == name.scope() => {
                Self::Tarball(name, text(file)?)
            }
            ["-", file, "-rev", _] => Self::TarballAt(name, text(file)?),
            [version] => Self::Version(name, text(version)?),
            _ => return Err(no_such_page(&format!("/npm/{raw}"))),
        })
    }
}

/// The name of an organisation, with or without the mark of a scope.
fn scope(raw: &str) -> Option<String> {
    let name = decode(raw).ok()?;
    let name = name.strip_prefix('@').unwrap_or(&name);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackageName {
        PackageName::parse(text).unwrap()
    }

    #[test]
    fn every_encoding_of_a_name_leads_to_the_same_place() {
        for raw in ["@s/n", "@s%2fn", "@s%2Fn", "%40s/n", "%40s%2fn", "%40s%2Fn"] {
            let read = |rest: &str| {
                let raw = format!("{raw}{rest}");
                // Leaked for the test alone: what is read borrows from the path.
                Place::read(raw.leak())
            };
            let of = |text: &str| text.to_owned();
            assert_eq!(read("").unwrap(), Place::Package(name("@s/n")));
            assert_eq!(read("/").unwrap(), Place::Package(name("@s/n")));
            for rest in ["/-/n-1.0.0.tgz", "/-/@s/n-1.0.0.tgz"] {
                assert_eq!(
                    read(rest).unwrap(),
                    Place::Tarball(name("@s/n"), of("n-1.0.0.tgz"))
                );
            }
            assert_eq!(
                read("/-rev/1-a").unwrap(),
                Place::PackageAt(name("@s/n"), of("1-a"))
            );
            assert_eq!(
                read("/latest").unwrap(),
                Place::Version(name("@s/n"), of("latest"))
            );
            assert_eq!(
                read("/-/n-1.0.0.tgz/-rev/1-a").unwrap(),
                Place::TarballAt(name("@s/n"), of("n-1.0.0.tgz"))
            );
            let service = format!("-/package/{raw}/dist-tags/next");
            assert_eq!(
                Place::read(&service).unwrap(),
                Place::Tag(name("@s/n"), of("next"))
            );
        }
    }

    #[test]
    fn services_are_told_from_packages() {
        for (raw, place) in [
            ("", Place::Root),
            ("-/ping", Place::Ping),
            ("-/whoami", Place::Whoami),
            ("-/v1/login/secret", Place::LoginDone("secret")),
            ("-/user/org.couchdb.user:ada", Place::User("ada".to_owned())),
            (
                "-/user/org.couchdb.user%3Aada/-rev/1",
                Place::User("ada".to_owned()),
            ),
            ("-/user/token/csgn_u_x", Place::Logout("csgn_u_x")),
            ("-/npm/v1/security/audits/quick", Place::Audit),
            ("-/org/%40acme/user", Place::OrgUsers("acme".to_owned())),
            (
                "-/team/acme/dev/package",
                Place::TeamPackages("acme".to_owned(), "dev".to_owned()),
            ),
            ("whoami", Place::Package(name("whoami"))),
            ("JSONStream", Place::Package(name("JSONStream"))),
        ] {
            assert_eq!(Place::read(raw).unwrap(), place, "{raw}");
        }
    }

    #[test]
    fn what_names_nothing_is_not_here() {
        for raw in [
            "-",
            "-/",
            "-/v1/login/",
            "-/all",
            "-/package/%2e%2e/dist-tags",
            "-/package/x",
            "-/user/%00",
            "x/y/z",
            "x%2fy",
            "@s",
            "@s%252fn",
            "..",
            "%2e%2e/x",
            "__proto__",
            "x/-/@t/x-1.0.0.tgz",
            "favicon.ico",
        ] {
            let error = Place::read(raw).unwrap_err();
            assert_eq!(error.kind, Kind::NotFound, "{raw}");
        }
    }
}
