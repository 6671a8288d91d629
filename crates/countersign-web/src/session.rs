//! What a browser carries: the cookie of a session, the cookie of a visit before it, and the token that every form
//! holds against requests that other sites forge.
//!
//! A form's token is a digest of the cookie that the form was shown to, so it needs no memory on the server, ends with
//! the session, and tells nothing of the cookie. It stands beside two more defences: cookies that browsers do not send
//! along from other sites (`SameSite=Lax`), and the pipeline's look at `Origin` and `Sec-Fetch-Site`.

use countersign_registry::model::Presented;
use countersign_registry::{Error, Kind};
use countersign_trust::digest::Sha256;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use subtle::ConstantTimeEq as _;

use crate::caller;

/// The header in which a script of ours sends the form's token.
pub(crate) const FORM_TOKEN: HeaderName = HeaderName::from_static("x-countersign-form");

/// Longest cookie value looked at, in bytes.
const LONGEST: usize = 200;

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Of somebody who signed in.
    Session,
    /// Of a visit before that, so that forms for strangers have their token too.
    Visit,
    /// Of a sign-in that still owes its second factor.
    Half,
    /// Of a trip to a sign-in provider.
    Away,
    /// Of a browser that somebody signed in with before: no notice is sent for it again.
    Device,
}

impl Cookie {
    /// Its name. With the `__Host-` prefix no other host, not even one below this one, can set it.
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-countersign",
            (Self::Session, false) => "countersign",
            (Self::Visit, true) => "__Host-countersign-visit",
            (Self::Visit, false) => "countersign-visit",
            (Self::Half, true) => "__Host-countersign-half",
            (Self::Half, false) => "countersign-half",
            (Self::Away, true) => "__Host-countersign-away",
            (Self::Away, false) => "countersign-away",
            (Self::Device, true) => "__Host-countersign-device",
            (Self::Device, false) => "countersign-device",
        }
    }

    /// The value that a request carries; of two, none, since one of them is not ours.
    pub(crate) fn value(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let name = self.name(secure);
        let mut found = None;
        for header in headers.get_all(COOKIE) {
            let Ok(text) = header.to_str() else { continue };
            for pair in text.split(';') {
                let Some((key, value)) = pair.split_once('=') else {
                    continue;
                };
                if key.trim() != name {
                    continue;
                }
                let value = value.trim();
                if found.is_some() || value.is_empty() || value.len() > LONGEST {
                    return None;
                }
                found = Some(value.to_owned());
            }
        }
        found
    }

    /// The `Set-Cookie` that gives it this value; `None` where the value is none of ours.
    pub(crate) fn set(self, value: &str, secure: bool) -> Option<HeaderValue> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        if value.is_empty() || value.len() > LONGEST || !value.bytes().all(plain) {
            return None;
        }
        let life = match self {
            // The server ends sessions; the browser forgets them when it is closed.
            Self::Session | Self::Visit => "",
            Self::Half | Self::Away => "; Max-Age=600",
            Self::Device => "; Max-Age=15552000",
        };
        self.header(value, life, secure)
    }

    /// The `Set-Cookie` that removes it.
    pub(crate) fn clear(self, secure: bool) -> Option<HeaderValue> {
        self.header("", "; Max-Age=0", secure)
    }

    fn header(self, value: &str, life: &str, secure: bool) -> Option<HeaderValue> {
        let name = self.name(secure);
        let guard = if secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax{life}{guard}"
        ))
        .ok()
    }
}

/// The token of forms that are shown to the holder of a cookie.
pub(crate) fn form_token(cookie: &str) -> String {
    Sha256::of(format!("countersign form\n{cookie}").as_bytes()).to_string()
}

/// Whether a form's token belongs to that cookie.
pub(crate) fn is_form_token(cookie: &str, given: &str) -> bool {
    form_token(cookie).as_bytes().ct_eq(given.as_bytes()).into()
}

/// What a request presents: its `Authorization`, or else the session of its cookie. A change that rests on the cookie
/// alone must carry the form's token in a header, which other sites can neither know nor send.
pub(crate) fn presented(
    method: &Method,
    headers: &HeaderMap,
    secure: bool,
) -> Result<Presented, Error> {
    if headers.contains_key(AUTHORIZATION) {
        return Ok(caller::presented(headers));
    }
    let Some(cookie) = Cookie::Session.value(headers, secure) else {
        return Ok(Presented::Nothing);
    };
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let given = headers
            .get(FORM_TOKEN)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !is_form_token(&cookie, given) {
            return Err(forged());
        }
    }
    Ok(Presented::Session(cookie))
}

/// A form that was not shown to whoever sends it.
pub(crate) fn forged() -> Error {
    Error::new(
        Kind::Denied,
        "form-expired",
        "This form does not belong to your session, so nothing was done.",
    )
    .remedy("Go back, load the page again, and send the form from there. Cookies must be allowed for this site.")
}

/// A path of this site to go on to, as somebody handed it in; anything else leads to `instead`. Browsers read `\` as
/// `/`, skip tabs and line ends, and take two slashes for another host.
pub(crate) fn own_path(given: Option<&str>, instead: &'static str) -> String {
    let ours = |path: &&str| {
        path.len() <= 500
            && path.starts_with('/')
            && !path.starts_with("//")
            && path
                .bytes()
                .all(|c| c.is_ascii_graphic() && c != b'\\' && c != b'"' && c != b'<' && c != b'>')
            && url::Url::parse("https://countersign.invalid")
                .and_then(|base| base.join(path))
                .is_ok_and(|url| url.host_str() == Some("countersign.invalid"))
    };
    given.filter(ours).unwrap_or(instead).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, text.parse().unwrap());
        headers
    }

    #[test]
    fn a_cookie_is_read_among_others_and_never_when_there_are_two() {
        for (text, value) in [
            ("countersign=abc", Some("abc")),
            ("a=b; countersign=abc ; c=d", Some("abc")),
            ("countersign=abc; countersign=def", None),
            ("countersign=", None),
            ("xcountersign=abc", None),
            ("__Host-countersign=abc", None),
            ("countersign", None),
        ] {
            let found = Cookie::Session.value(&cookies(text), false);
            assert_eq!(found.as_deref(), value, "{text}");
        }
        let found = Cookie::Session.value(&cookies("__Host-countersign=abc; countersign=x"), true);
        assert_eq!(found.as_deref(), Some("abc"));
        let long = format!("countersign={}", "a".repeat(LONGEST + 1));
        assert_eq!(Cookie::Session.value(&cookies(&long), false), None);
    }

    #[test]
    fn cookies_are_out_of_reach_of_scripts_other_sites_and_other_hosts() {
        let set = Cookie::Session.set("csgn_x", true).unwrap();
        assert_eq!(
            set,
            "__Host-countersign=csgn_x; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(Cookie::Session.set("a; Domain=example.org", true), None);
        assert_eq!(Cookie::Session.set("a\r\nb", true), None);
        assert!(
            Cookie::Session
                .clear(false)
                .unwrap()
                .to_str()
                .unwrap()
                .contains("Max-Age=0")
        );
    }

    #[test]
    fn a_token_is_good_for_its_own_cookie_only() {
        let token = form_token("one");
        assert!(is_form_token("one", &token));
        assert!(!is_form_token("two", &token));
        assert!(!is_form_token("one", ""));
        assert!(!is_form_token("one", &token[..63]));
    }

    #[test]
    fn a_cookie_alone_changes_nothing() {
        let mut headers = cookies("countersign=abc");
        assert!(presented(&Method::GET, &headers, false).is_ok());
        let refused = presented(&Method::POST, &headers, false).err().unwrap();
        assert_eq!(refused.code, "form-expired");
        headers.insert(FORM_TOKEN, form_token("other").parse().unwrap());
        assert!(presented(&Method::DELETE, &headers, false).is_err());
        headers.insert(FORM_TOKEN, form_token("abc").parse().unwrap());
        assert!(matches!(
            presented(&Method::DELETE, &headers, false),
            Ok(Presented::Session(_))
        ));
    }

    #[test]
    fn attack_open_redirects_lead_nowhere_else() {
        for path in ["/account", "/projects/pypi/a/settings?x=1#y", "/a//b"] {
            assert_eq!(own_path(Some(path), "/"), path);
        }
        for path in [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "account",
            "",
            "/é",
            "/\"onclick",
        ] {
            assert_eq!(own_path(Some(path), "/account"), "/account", "{path:?}");
        }
        assert_eq!(own_path(None, "/account"), "/account");
        assert_eq!(own_path(Some(&format!("/{}", "a".repeat(600))), "/x"), "/x");
    }
}
