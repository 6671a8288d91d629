//! The outside world for the core: HTTPS to issuers and providers, and nothing else.

use std::collections::HashMap;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use countersign_registry::{Outside, OutsideAnswer, OutsideError, OutsideRequest, WitnessAnswer};
use countersign_trust::digest::Sha256;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Certificate, Client, NoProxy, Proxy, redirect};
use url::Url;

/// How long a connection with its TLS hand-shake may take; the whole request has the limit that its caller set.
const CONNECT: Duration = Duration::from_secs(5);

/// The most of a foreign text that is repeated in an error.
const SHOWN: usize = 200;

/// The most clients that are kept: one for each private CA that the operator gave, and one without.
const MOST_CLIENTS: usize = 64;

/// Hosts that are never asked through a proxy: they mean this machine, whoever asks.
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1";

/// Fetches over HTTPS, each answer within the limits that its request sets.
///
/// What is guarded: plain HTTP and credentials in a URL are refused; certificates are checked against this machine's
/// authorities (where `SSL_CERT_FILE` is set, those in it) and, for this request alone, the authority that the operator
/// gave for the issuer; a redirect is an error that names its target and is never followed; an answer is read up to its
/// limit and no further; no cookies, no compression, no HTTP/2. Only witnesses of the log are spoken to over plain HTTP too:
/// what goes there is public, and what comes back is signed.
///
/// What is not guarded: which address a name leads to. Issuers are the operator's allow list, and many of them stand in
/// private networks, so private addresses are allowed. An issuer's discovery document names where its keys are; a
/// hostile issuer could thus make this registry send a GET without credentials to any HTTPS server whose certificate is
/// good, and would learn whether it answered with a key set. Do not allow an issuer that you would not trust with that.
///
/// A proxy is used where the environment says so: `HTTPS_PROXY` (or `https_proxy`), but not for the hosts in `NO_PROXY`
/// nor for this machine itself. Other proxy variables do not count. TLS goes through the proxy end to end.
pub struct Https {
    proxy: Option<String>,
    no_proxy: String,
    clients: Mutex<HashMap<Option<Sha256>, Client>>,
    /// The client for witnesses, which may be spoken to in the clear.
    plain: Mutex<Option<Client>>,
}

impl Https {
    /// With the proxy that the environment names, if it does.
    pub fn from_environment() -> Self {
        Self::new(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn new(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| environment(name).or_else(|| environment(&name.to_lowercase()));
        let no_proxy = either("NO_PROXY").map_or_else(
            || NEVER_PROXIED.to_owned(),
            |listed| format!("{NEVER_PROXIED},{listed}"),
        );
        Self {
            proxy: either("HTTPS_PROXY"),
            no_proxy,
            clients: Mutex::default(),
            plain: Mutex::default(),
        }
    }

    /// The client for witnesses. Connections stay open in it between requests.
    fn plain(&self) -> Result<Client, OutsideError> {
        let mut plain = self
            .plain
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = &*plain {
            return Ok(client.clone());
        }
        let client = self.build(None, false)?;
        *plain = Some(client.clone());
        Ok(client)
    }

    /// The client for one private CA, or for none. Connections stay open in it between requests.
    fn client(&self, ca_pem: Option<&str>) -> Result<Client, OutsideError> {
        let key = ca_pem.map(|pem| Sha256::of(pem.as_bytes()));
        // A poisoned lock only means that another thread panicked between two whole states of the map.
        let mut clients = self
            .clients
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(ca_pem, true)?;
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn build(&self, ca_pem: Option<&str>, https_only: bool) -> Result<Client, OutsideError> {
        let mut builder = Client::builder()
            .user_agent(concat!("countersignd/", env!("CARGO_PKG_VERSION")))
            .https_only(https_only)
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .referer(false)
            .no_proxy();
        if let Some(address) = &self.proxy {
            // Its value is not shown: it may hold a password.
            let proxy = Proxy::https(address.as_str()).map_err(|error| {
                OutsideError::Unreachable(format!(
                    "the proxy that HTTPS_PROXY names is not usable: {}",
                    innermost(&error)
                ))
            })?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&self.no_proxy)));
        }
        if let Some(pem) = ca_pem {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes())
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| {
                    OutsideError::Unreachable(
                        "the certificate authority given for it holds no certificate in PEM form"
                            .to_owned(),
                    )
                })?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().map_err(|error| {
            OutsideError::Unreachable(format!("TLS can not be set up: {}", innermost(&error)))
        })
    }

    /// One GET, or one POST of a form.
    async fn fetch(
        &self,
        request: OutsideRequest<'_>,
        form: Option<&str>,
    ) -> Result<OutsideAnswer, OutsideError> {
        let url = Url::parse(request.url).map_err(|error| {
            OutsideError::Unreachable(format!("{:?} is not a URL: {error}", shown(request.url)))
        })?;
        if url.scheme() != "https" {
            return Err(OutsideError::Unreachable(format!(
                "its scheme is {:?}, and only https is spoken",
                shown(url.scheme())
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutsideError::Unreachable(
                "its URL carries a user name or password".to_owned(),
            ));
        }
        let client = self.client(request.ca_pem)?;
        let mut sending = match form {
            None => client.get(url),
            Some(form) => client
                .post(url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.to_owned()),
        };
        for (name, value) in request.headers {
            sending = sending.header(*name, *value);
        }
        let answer = sending
            .header(ACCEPT, request.accept)
            .header(ACCEPT_ENCODING, "identity")
            .timeout(request.timeout)
            .send()
            .await
            .map_err(|error| unreachable(&error, request.timeout))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(redirected(&answer));
        }
        if status != reqwest::StatusCode::OK {
            return Err(OutsideError::Status(status.as_u16()));
        }
        let max_age = max_age(answer.headers());
        let body = capped(answer, &request).await?;
        Ok(OutsideAnswer { body, max_age })
    }

    /// One request to a witness.
    async fn ask_witness(
        &self,
        request: OutsideRequest<'_>,
        body: Option<&str>,
    ) -> Result<WitnessAnswer, OutsideError> {
        let url = Url::parse(request.url).map_err(|error| {
            OutsideError::Unreachable(format!("{:?} is not a URL: {error}", shown(request.url)))
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(OutsideError::Unreachable(format!(
                "its scheme is {:?}, and only https and http are spoken",
                shown(url.scheme())
            )));
        }
        let client = self.plain()?;
        let sending = match body {
            None => client.get(url),
            Some(body) => client.post(url).body(body.to_owned()),
        };
        let answer = sending
            .header(ACCEPT, request.accept)
            .header(ACCEPT_ENCODING, "identity")
            .timeout(request.timeout)
            .send()
            .await
            .map_err(|error| unreachable(&error, request.timeout))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(redirected(&answer));
        }
        let content_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .map_or_else(String::new, |value| {
                shown(&String::from_utf8_lossy(value.as_bytes()))
            });
        Ok(WitnessAnswer {
            status: status.as_u16(),
            content_type,
            body: capped(answer, &request).await?,
        })
    }
}

impl Outside for Https {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<OutsideAnswer, OutsideError>> + Send + 'a>> {
        Box::pin(self.fetch(request, None))
    }

    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        form: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<OutsideAnswer, OutsideError>> + Send + 'a>> {
        Box::pin(self.fetch(request, Some(form)))
    }

    fn witness<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        body: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Result<WitnessAnswer, OutsideError>> + Send + 'a>> {
        Box::pin(self.ask_witness(request, body))
    }
}

fn redirected(answer: &reqwest::Response) -> OutsideError {
    let target = answer.headers().get(LOCATION);
    OutsideError::Redirected(target.map_or_else(String::new, |value| {
        shown(&String::from_utf8_lossy(value.as_bytes()))
    }))
}

/// The body of an answer, up to the request's limit and no further.
async fn capped(
    mut answer: reqwest::Response,
    request: &OutsideRequest<'_>,
) -> Result<Vec<u8>, OutsideError> {
    let length = answer.content_length();
    if length.is_some_and(|length| length > request.most as u64) {
        return Err(OutsideError::TooLarge(request.most));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer
        .chunk()
        .await
        .map_err(|error| unreachable(&error, request.timeout))?
    {
        if piece.len() > request.most.saturating_sub(body.len()) {
            return Err(OutsideError::TooLarge(request.most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// How long an answer may be kept, if it says so (RFC 9111, section 5.2.2). What may not be kept has no time at all.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut least = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => Some(0),
                "max-age" => argument.trim().trim_matches('"').parse().ok(),
                _ => None,
            };
            least = [least, seconds].into_iter().flatten().min();
        }
    }
    least.map(Duration::from_secs)
}

/// Why a request failed, as a clause that a person can act on.
fn unreachable(error: &reqwest::Error, limit: Duration) -> OutsideError {
    if error.is_timeout() {
        let why = if error.is_connect() {
            format!(
                "no connection came about within {} s",
                CONNECT.min(limit).as_secs_f64()
            )
        } else {
            format!("it did not answer in full within {} s", limit.as_secs_f64())
        };
        return OutsideError::Unreachable(why);
    }
    let why = match certificate_fault(error) {
        Some(rustls::CertificateError::UnknownIssuer) => {
            "no certificate authority that this machine trusts has signed its certificate"
                .to_owned()
        }
        Some(other) => format!("its certificate is not acceptable ({other})"),
        None => innermost(error),
    };
    OutsideError::Unreachable(why)
}

/// What TLS had against a certificate, if that was the fault.
fn certificate_fault<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e rustls::CertificateError> {
    let mut next = Some(error);
    while let Some(inner) = next {
        // An I/O error that wraps another one names that one's cause as its own, and so hides it from `source`.
        let wrapped = inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let tls = match wrapped {
            Some(wrapped) => wrapped.downcast_ref::<rustls::Error>(),
            None => inner.downcast_ref::<rustls::Error>(),
        };
        if let Some(rustls::Error::InvalidCertificate(fault)) = tls {
            return Some(fault);
        }
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    None
}

/// The last cause of a chain: the others only say that something failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(inner) = next {
        text = inner.to_string();
        next = inner.source();
    }
    shown(&text)
}

/// A foreign text as it may stand in an error: short, on one line.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use rustls::crypto::aws_lc_rs;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

    /// A TLS server on loopback that answers each request with the same bytes and tells what it was asked.
    struct Host {
        port: u16,
        ca_pem: String,
        asked: Receiver<String>,
    }

    impl Host {
        /// `None` never answers.
        fn start(name: &str, answer: Option<Vec<u8>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let ca_key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            // A name of its own, or another authority's certificate would be taken for this one's and fail otherwise.
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, format!("authority {port}"));
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let ca = params.self_signed(&ca_key).unwrap();
            let issuer = rcgen::Issuer::new(params, ca_key);
            let key = rcgen::KeyPair::generate().unwrap();
            let leaf = rcgen::CertificateParams::new(vec![name.to_owned()])
                .unwrap()
                .signed_by(&key, &issuer)
                .unwrap();
            let config =
                ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(
                        vec![CertificateDer::from(leaf.der().to_vec())],
                        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
                    )
                    .unwrap();
            let config = Arc::new(config);
            let (tell, asked) = channel();
            std::thread::spawn(move || {
                for socket in listener.incoming() {
                    let connection = ServerConnection::new(config.clone()).unwrap();
                    let mut stream = StreamOwned::new(connection, socket.unwrap());
                    let mut head = Vec::new();
                    let mut byte = [0];
                    // A client that refuses the certificate ends the connection here.
                    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                        head.push(byte[0]);
                    }
                    if head.is_empty() {
                        continue;
                    }
                    if tell.send(String::from_utf8(head).unwrap()).is_err() {
                        return;
                    }
                    match &answer {
                        // The client may hang up in the middle, which is what some tests are about.
                        Some(bytes) => {
                            if stream
                                .write_all(bytes)
                                .and_then(|()| stream.flush())
                                .is_ok()
                            {
                                stream.conn.send_close_notify();
                                stream.flush().ok();
                            }
                        }
                        None => {
                            let mut rest = Vec::new();
                            stream.read_to_end(&mut rest).ok();
                        }
                    }
                }
            });
            Self {
                port,
                ca_pem: ca.pem(),
                asked,
            }
        }

        fn answering(head: &str, body: &[u8]) -> Self {
            let mut answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
            answer.extend(body);
            Self::start("localhost", Some(answer))
        }

        fn url(&self) -> String {
            format!("https://localhost:{}/keys", self.port)
        }

        async fn get(&self, most: usize) -> Result<OutsideAnswer, OutsideError> {
            get(&self.url(), most, Some(&self.ca_pem)).await
        }
    }

    async fn get(
        url: &str,
        most: usize,
        ca_pem: Option<&str>,
    ) -> Result<OutsideAnswer, OutsideError> {
        let request = OutsideRequest {
            url,
            most,
            timeout: Duration::from_secs(20),
            ca_pem,
            accept: "application/json",
            headers: &[],
        };
        Https::new(&|_| None).get(request).await
    }

    fn why(error: OutsideError) -> String {
        match error {
            OutsideError::Unreachable(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_comes_back_whole_and_the_request_gives_nothing_away() {
        let host = Host::answering("200 OK\r\nContent-Length: 5", b"{\"a\"}");
        assert_eq!(host.get(5).await.unwrap().body, b"{\"a\"}");
        let head = host.asked.recv().unwrap().to_lowercase();
        assert!(head.starts_with("get /keys http/1.1\r\n"), "{head}");
        for line in [
            "accept: application/json",
            "accept-encoding: identity",
            "user-agent: countersignd/",
        ] {
            assert!(head.contains(line), "{head}");
        }
        for name in ["cookie", "authorization", "referer"] {
            assert!(!head.contains(name), "{head}");
        }
    }

    #[tokio::test]
    async fn an_answer_above_its_limit_is_refused_whether_or_not_it_says_its_length() {
        let told = Host::answering("200 OK\r\nContent-Length: 6", b"123456");
        assert!(matches!(told.get(5).await, Err(OutsideError::TooLarge(5))));
        let chunked = Host::answering(
            "200 OK\r\nTransfer-Encoding: chunked",
            b"4\r\n1234\r\n2\r\n56\r\n0\r\n\r\n",
        );
        assert!(matches!(
            chunked.get(5).await,
            Err(OutsideError::TooLarge(5))
        ));
        let endless = Host::answering("200 OK", &vec![b'x'; 1 << 20]);
        assert!(matches!(
            endless.get(1_000).await,
            Err(OutsideError::TooLarge(1_000))
        ));
    }

    #[tokio::test]
    async fn the_shortest_time_that_an_answer_may_be_kept_counts() {
        for (line, seconds) in [
            ("", None),
            ("Cache-Control: public", None),
            ("Cache-Control: public, Max-Age=300", Some(300)),
            ("Cache-Control: max-age=\"60\"", Some(60)),
            ("Cache-Control: max-age=300, no-cache", Some(0)),
            ("Cache-Control: max-age=soon", None),
            (
                "Cache-Control: max-age=300\r\nCache-Control: max-age=20",
                Some(20),
            ),
        ] {
            let line = if line.is_empty() {
                String::new()
            } else {
                format!("\r\n{line}")
            };
            let host = Host::answering(&format!("200 OK\r\nContent-Length: 2{line}"), b"{}");
            let answer = host.get(5).await.unwrap();
            assert_eq!(answer.max_age, seconds.map(Duration::from_secs), "{line}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_answer() {
        let host = Host::answering("200 OK\r\nContent-Length: 50", b"only this");
        assert!(matches!(
            host.get(100).await,
            Err(OutsideError::Unreachable(_))
        ));
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_its_target_is_named() {
        let target = Host::answering("200 OK\r\nContent-Length: 2", b"{}");
        let host = Host::answering(&format!("302 Found\r\nLocation: {}", target.url()), b"");
        match host.get(100).await {
            Err(OutsideError::Redirected(to)) => assert_eq!(to, target.url()),
            other => panic!("{other:?}"),
        }
        assert!(target.asked.try_recv().is_err(), "the target was asked");
    }

    #[tokio::test]
    async fn a_status_other_than_200_is_told() {
        for (line, status) in [("404 Not Found", 404), ("503 No", 503), ("204 None", 204)] {
            let host = Host::answering(&format!("{line}\r\nContent-Length: 0"), b"");
            assert!(
                matches!(host.get(100).await, Err(OutsideError::Status(seen)) if seen == status),
                "{line}"
            );
        }
    }

    #[tokio::test]
    async fn plain_http_and_credentials_in_a_url_are_refused() {
        for (url, phrase) in [
            ("http://localhost:1/keys", "only https is spoken"),
            ("file:///etc/passwd", "only https is spoken"),
            ("https://user:secret@localhost:1/", "user name or password"),
            ("not a URL", "is not a URL"),
        ] {
            let text = why(get(url, 100, None).await.unwrap_err());
            assert!(text.contains(phrase) && !text.contains("secret"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_private_authority_counts_for_the_requests_that_name_it_alone() {
        let host = Host::answering("200 OK\r\nContent-Length: 2", b"{}");
        let outside = Https::new(&|_| None);
        let url = host.url();
        let with = |ca_pem| OutsideRequest {
            url: &url,
            most: 100,
            timeout: Duration::from_secs(20),
            ca_pem,
            accept: "*/*",
            headers: &[],
        };
        assert_eq!(
            outside.get(with(Some(&host.ca_pem))).await.unwrap().body,
            b"{}"
        );
        // The same `Https` has spoken to that host before; without the authority it must not again.
        let text = why(outside.get(with(None)).await.unwrap_err());
        assert!(text.contains("no certificate authority"), "{text}");
        let other = Host::answering("200 OK\r\nContent-Length: 2", b"{}");
        let text = why(outside.get(with(Some(&other.ca_pem))).await.unwrap_err());
        assert!(text.contains("no certificate authority"), "{text}");
        let text = why(outside.get(with(Some("not PEM"))).await.unwrap_err());
        assert!(text.contains("no certificate in PEM form"), "{text}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_refused() {
        let host = Host::start("elsewhere.example.org", Some(Vec::new()));
        let text = why(host.get(100).await.unwrap_err());
        assert!(text.contains("certificate is not acceptable"), "{text}");
        assert!(host.asked.try_recv().is_err(), "a request went to it");
    }

    #[tokio::test]
    async fn a_host_that_never_answers_is_given_up() {
        let host = Host::start("localhost", None);
        let request = OutsideRequest {
            url: &host.url(),
            most: 100,
            timeout: Duration::from_millis(300),
            ca_pem: Some(&host.ca_pem),
            accept: "*/*",
            headers: &[],
        };
        let text = why(Https::new(&|_| None).get(request).await.unwrap_err());
        assert!(text.contains("within 0.3 s"), "{text}");
    }

    #[tokio::test]
    async fn a_proxy_that_is_named_is_used_but_never_for_this_machine_and_its_password_is_not_shown()
     {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!(
            "http://user:secret@127.0.0.1:{}",
            proxy.local_addr().unwrap().port()
        );
        let host = Host::answering("200 OK\r\nContent-Length: 2", b"{}");
        let environment = |name: &str| match name {
            "https_proxy" => Some(address.clone()),
            "NO_PROXY" => Some("internal.example.org".to_owned()),
            _ => None,
        };
        let outside = Https::new(&environment);
        let with = |url| OutsideRequest {
            url,
            most: 100,
            timeout: Duration::from_secs(20),
            ca_pem: Some(&host.ca_pem),
            accept: "*/*",
            headers: &[],
        };
        let url = host.url();
        assert_eq!(outside.get(with(&url)).await.unwrap().body, b"{}");

        let (tell, asked) = channel();
        std::thread::spawn(move || {
            let (mut socket, _) = proxy.accept().unwrap();
            let mut head = [0; 1_024];
            let read = socket.read(&mut head).unwrap();
            tell.send(String::from_utf8_lossy(&head[..read]).into_owned())
                .unwrap();
            socket
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        });
        let text = why(outside
            .get(with("https://issuer.example.org/keys"))
            .await
            .unwrap_err());
        assert!(!text.contains("secret"), "{text}");
        let head = asked.recv().unwrap();
        assert!(
            head.starts_with("CONNECT issuer.example.org:443 "),
            "{head}"
        );

        let broken =
            Https::new(&|name| (name == "HTTPS_PROXY").then(|| "http://user:secret@[".to_owned()));
        let text = why(broken.get(with(&url)).await.unwrap_err());
        assert!(
            text.contains("HTTPS_PROXY") && !text.contains("secret"),
            "{text}"
        );
    }

    /// A witness on loopback, in the clear, that answers one request with these bytes and then, if `endless`, goes on.
    fn witness(answer: &'static str, endless: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/add-checkpoint", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut asked, mut piece) = (Vec::new(), [0; 1024]);
            let whole = |asked: &[u8]| match asked.starts_with(b"POST") {
                true => asked.ends_with(b"old 0\n"),
                false => asked.ends_with(b"\r\n\r\n"),
            };
            while !whole(&asked) {
                let count = stream.read(&mut piece).unwrap();
                asked.extend_from_slice(&piece[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            // Until the other side has had enough.
            while endless && stream.write_all(b"5\r\nlines\r\n").is_ok() {}
        });
        url
    }

    async fn told(url: &str, body: Option<&str>) -> Result<WitnessAnswer, OutsideError> {
        let request = OutsideRequest {
            url,
            most: 1_000,
            timeout: Duration::from_secs(2),
            ca_pem: None,
            accept: "text/plain",
            headers: &[],
        };
        Https::new(&|_| None).witness(request, body).await
    }

    #[tokio::test]
    async fn a_witness_is_asked_in_the_clear_and_its_refusals_are_answers() {
        let conflict = "HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n7\n";
        let answer = told(&witness(conflict, false), Some("old 0\n"))
            .await
            .unwrap();
        assert_eq!(
            (
                answer.status,
                answer.content_type.as_str(),
                answer.body.as_slice()
            ),
            (409, "text/x.tlog.size", b"7\n".as_slice())
        );
    }

    #[tokio::test]
    async fn a_witness_that_answers_without_end_redirects_or_hangs_is_given_up() {
        let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let refused = told(&witness(endless, true), Some("old 0\n"))
            .await
            .unwrap_err();
        assert_eq!(refused, OutsideError::TooLarge(1_000));
        let elsewhere =
            "HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let refused = told(&witness(elsewhere, false), None).await.unwrap_err();
        assert_eq!(
            refused,
            OutsideError::Redirected("http://127.0.0.1:1/".to_owned())
        );
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let refused = told(&url, None).await.unwrap_err();
        assert!(why(refused).contains("within 2 s"));
        assert!(told("file:///etc/hosts", None).await.is_err());
    }
}
