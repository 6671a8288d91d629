//! The credential a request carries: one verifier in the core, many ways to send the token.

use std::net::IpAddr;

use base64::Engine as _;
use countersign_registry::model::Presented;
use http::HeaderMap;
use http::header::AUTHORIZATION;

tokio::task_local! {
    /// The address of the caller whose request this task answers. The pipeline alone sets it, from the connection and,
    /// behind a proxy of ours, from what that proxy wrote; so no header of a client can pass for it.
    static ADDRESS: Option<IpAddr>;
}

/// Answers a request of a caller at this address.
pub(crate) async fn at<F: Future>(address: Option<IpAddr>, answer: F) -> F::Output {
    ADDRESS.scope(address, answer).await
}

/// Where the caller of this request is; `None` where that is not known, and tokens for some networks only are refused.
pub(crate) fn address() -> Option<IpAddr> {
    ADDRESS.try_with(|address| *address).ok().flatten()
}

/// Longest credential looked at, in bytes; ours have 56.
const LONGEST: usize = 1_024;

/// What the `Authorization` header presents: `Basic` with any user name and the token as the password (or the token
/// as the user name with an empty password), `Bearer`, or the bare token. What can not be read is presented as it
/// is, so that the core refuses it instead of taking the caller for anonymous.
pub fn presented(headers: &HeaderMap) -> Presented {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Presented::Nothing;
    };
    let value = value.as_bytes();
    if value.len() > LONGEST {
        return Presented::Token(String::new());
    }
    let text = String::from_utf8_lossy(value);
    let text = text.trim();
    if text.is_empty() {
        return Presented::Nothing;
    }
    let Some((scheme, rest)) = text.split_once(' ') else {
        return Presented::Token(text.to_owned());
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Presented::Token(basic_secret(rest.trim()).unwrap_or_default());
    }
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Presented::Token(rest.trim().to_owned());
    }
    Presented::Token(text.to_owned())
}

fn basic_secret(encoded: &str) -> Option<String> {
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded))
        .ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
    let secret = if password.is_empty() { user } else { password };
    Some(secret.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        match presented(&headers) {
            Presented::Nothing | Presented::Session(_) => None,
            Presented::Token(token) => Some(token),
        }
    }

    fn basic(pair: &str) -> String {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        )
    }

    #[test]
    fn every_way_to_send_a_token_presents_the_same_token() {
        for value in [
            &basic("__token__:csgn_u_x"),
            &basic("anyone:csgn_u_x"),
            &basic("csgn_u_x:"),
            &basic("csgn_u_x"),
            "Bearer csgn_u_x",
            "bearer   csgn_u_x ",
            "csgn_u_x",
        ] {
            assert_eq!(token(value).as_deref(), Some("csgn_u_x"), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_wrong_token_and_not_an_anonymous_caller() {
        assert_eq!(token("Basic !!!").as_deref(), Some(""));
        assert_eq!(token("Digest user=x").as_deref(), Some("Digest user=x"));
        assert_eq!(token(&"x".repeat(LONGEST + 1)).as_deref(), Some(""));
    }

    #[test]
    fn no_header_presents_nothing() {
        assert!(matches!(presented(&HeaderMap::new()), Presented::Nothing));
        assert_eq!(token(""), None);
    }
}
