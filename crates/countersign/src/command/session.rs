//! `countersign login`, `logout` and `whoami`.

use std::io::IsTerminal;
use std::process::{Command, Stdio};
use std::time::Duration;

use countersign::ci::variable;
use countersign::login::{self, Logins, Waiting};
use countersign::remote::Remote;
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::json;
use url::Url;

use super::person::Person;
use super::{authorities, interrupt, line, meant, notes, trust_path};
use crate::cli::{Common, Login, Logout};

fn place(common: &Common, named: Option<&Url>) -> Result<Url, Failure> {
    if let (Some(one), Some(other)) = (named, &common.registry)
        && one != other
        && variable("COUNTERSIGN_REGISTRY").is_none_or(|set| set != other.as_str())
    {
        return Err(Failure::new(
            Exit::Usage,
            "registry-twice",
            format!("Both {one} and --registry {other} are named."),
        )
        .remedy("Name one registry."));
    }
    let common = Common {
        registry: named.cloned().or_else(|| common.registry.clone()),
        trust: common.trust.clone(),
        ca: common.ca.clone(),
        json: common.json,
    };
    meant(&common, &TrustFile::load(&trust_path(&common)?)?)
}

/// How the person at the browser sees this program.
fn own_name(given: Option<&str>) -> String {
    if let Some(name) = given {
        return name.to_owned();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| variable("COMPUTERNAME"))
        .unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        .take(60)
        .collect();
    if host.is_empty() {
        "countersign".to_owned()
    } else {
        format!("countersign on {host}")
    }
}

/// Logs in: shows where a person says yes, waits for it, and keeps the token.
pub fn login(common: &Common, options: &Login) -> Result<(), Failure> {
    let url = place(common, options.url.as_ref())?;
    let path = login::default_path()?;
    // What can not be written later is known before a person has done anything.
    Logins::load(&path)?;
    let remote = Remote::new(&url, None, authorities(common)?.as_deref())?;
    let waiting = login::begin(
        &remote,
        &own_name(options.name.as_deref()),
        options.action.as_str(),
    )?;
    let say = notes(common);
    if common.json {
        eprintln!(
            "{}",
            json!({"login": {"url": waiting.page, "code": waiting.code}})
        );
    } else {
        eprintln!("Open this page, compare the code, and say yes with your passkey:");
        eprintln!();
        eprintln!("    {}", waiting.page);
        eprintln!("    {}", waiting.code);
        eprintln!();
        if !options.no_browser && browser(&waiting.page) {
            eprintln!("Your browser was asked to open it.");
        }
    }
    interrupt::then(|| eprintln!("The code ends by itself."))?;
    let fresh = waited(common, &remote, &waiting, &say)?;
    let mut logins = Logins::load(&path)?;
    let (user, expires) = (fresh.user.clone(), fresh.expires.clone());
    let token = fresh.credential().token;
    let old = logins.keep(fresh);
    if let Err(failure) = logins.save(&path) {
        // Nobody would hold it, and it would still be good.
        login::end(&remote.with_token(Some(token))?)?;
        return Err(failure);
    }
    if let Some(old) = old {
        let ended = remote
            .with_token(Some(old.credential().token))
            .and_then(|old| login::end(&old));
        if let Err(failure) = ended {
            say(&format!(
                "The login of before could not be ended: {} Revoke it at {}/account/tokens.",
                failure.message,
                remote.site()
            ));
        }
    }
    if common.json {
        let told = json!({"logged_in": {
            "registry": remote.site(), "user": user, "expires": expires, "file": path.display().to_string(),
        }});
        line(&told.to_string());
    } else {
        line(&format!(
            "Logged in at {} as {user}{}.",
            remote.site(),
            expires.map_or_else(String::new, |at| format!(", until {at}"))
        ));
        line(&format!("    kept in {}", path.display()));
        if variable(login::VARIABLE).is_some() {
            line("    COUNTERSIGN_TOKEN is set and goes before it");
        }
    }
    Ok(())
}

fn waited(
    common: &Common,
    remote: &Remote,
    waiting: &Waiting,
    say: &dyn Fn(&str),
) -> Result<login::Login, Failure> {
    if common.json || !std::io::stderr().is_terminal() {
        return login::wait(remote, waiting, say);
    }
    let bar = ProgressBar::new_spinner().with_message("Waiting for the yes; Ctrl-C gives up.");
    bar.enable_steady_tick(Duration::from_millis(120));
    let outcome = login::wait(remote, waiting, &|text| bar.suspend(|| say(text)));
    bar.finish_and_clear();
    outcome
}

/// Asks the browser to open a page, where there is a person and a screen.
pub fn browser(page: &str) -> bool {
    let screen = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"]
            .iter()
            .any(|name| variable(name).is_some());
    if !screen || !std::io::stderr().is_terminal() || variable("SSH_CONNECTION").is_some() {
        return false;
    }
    let opener = variable("BROWSER").unwrap_or_else(|| {
        if cfg!(target_os = "macos") {
            "open".to_owned()
        } else {
            "xdg-open".to_owned()
        }
    });
    Command::new(opener)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}

/// Ends the login at the registry, and forgets it.
pub fn logout(common: &Common, options: &Logout) -> Result<(), Failure> {
    let url = place(common, options.url.as_ref())?;
    let path = login::default_path()?;
    let mut logins = Logins::load(&path)?;
    let Some(kept) = logins.at(&url) else {
        return Err(Failure::new(
            Exit::Usage,
            "not-logged-in",
            format!("Nobody is logged in at {url}."),
        )
        .remedy(
            "A token in COUNTERSIGN_TOKEN is not kept here; end it with countersign token revoke.",
        ));
    };
    let remote = Remote::new(
        &url,
        Some(kept.credential().token),
        authorities(common)?.as_deref(),
    )?;
    let user = kept.user.clone();
    let ended = match login::end(&remote) {
        Ok(ended) => Ok(ended),
        Err(failure) if options.forget => Err(failure),
        Err(failure) => {
            return Err(failure.remedy(
                "Nothing was forgotten. Try again, or add --forget and revoke the token at the registry's page of tokens.",
            ));
        }
    };
    logins.forget(&url);
    logins.save(&path)?;
    let state = match &ended {
        Ok(true) => "revoked",
        Ok(false) => "over",
        Err(_) => "unknown",
    };
    if common.json {
        let told = json!({"logged_out": {"registry": remote.site(), "user": user, "token": state}});
        line(&told.to_string());
        return Ok(());
    }
    line(&format!("Logged out at {} as {user}.", remote.site()));
    match ended {
        Ok(true) => line("    the token is revoked"),
        Ok(false) => line("    the token had ended before"),
        Err(failure) => line(&format!(
            "    the token may still be good: {} Revoke it at {}/account/tokens",
            failure.message,
            remote.site()
        )),
    }
    Ok(())
}

/// Says who the user is, and by which credential.
pub fn whoami(common: &Common) -> Result<(), Failure> {
    let person = Person::of(common)?;
    let answer = person
        .remote
        .call(Method::GET, "/api/v1/whoami", None)
        .map_err(|failure| person.explained(failure))?;
    let (site, from) = (person.remote.site(), person.from.to_string());
    if common.json {
        let mut told = answer;
        told["registry"] = json!(site);
        told["credential"] = json!(from);
        line(&told.to_string());
        return Ok(());
    }
    for text in countersign::account::describe_caller(&answer)? {
        line(&text);
    }
    line(&format!("    at {site}, with {from}"));
    Ok(())
}
