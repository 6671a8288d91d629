//! A real OpenID Connect provider over TLS under the kit's private authority: discovery, keys, tokens with any claims,
//! key rotation, and the ways in which a provider fails or lies. Beside it what CI systems offer their jobs: GitHub's
//! endpoint where a job asks for its token, and the interfaces that tell the ids behind a repository's name.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rand::Rng as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, TlsFiles};
use crate::claims::Claims;

/// Where jobs ask for their tokens, as GitHub's runners do.
const JOB_TOKENS: &str = "/_actions/id-token";

/// A document that an issuer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// `/.well-known/openid-configuration`
    Discovery,
    /// `/jwks`
    Keys,
}

/// How a document is served wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed without an answer.
    Closed,
    /// The right answer, after this time.
    Slow(Duration),
    /// An error of this status.
    Status(u16),
    /// A redirect to there.
    RedirectTo(String),
    /// Discovery that names this issuer.
    NamesIssuer(String),
    /// Discovery that says that the keys are there.
    KeysAt(String),
    /// The right document, padded to more than that many bytes.
    Oversized(usize),
    /// No JSON.
    Garbage,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// By the current RSA key.
    Rs256,
    /// By the current P-256 key.
    Es256,
    /// `"alg":"none"`, with an empty signature.
    Unsigned,
    /// HMAC with the current RSA public key, in PEM, as the secret: what a verifier that believes `alg` would accept.
    PublicKeyAsSecret,
    /// By an RSA key that the issuer does not have.
    ForeignKey,
}

/// Which key id the token's header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyId {
    /// That of the current key (for anything but [`Signing::Es256`] the RSA key's).
    Current,
    /// None.
    Absent,
    /// This one.
    Named(String),
}

#[derive(Debug)]
struct Keys {
    id: String,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Keys {
    fn generate(issuer: &str, generation: usize) -> Result<Self> {
        let label = if issuer.is_empty() { "root" } else { issuer };
        Ok(Self {
            id: format!("{}-{generation}", label.replace('/', "-")),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048)
                .map_err(|_| anyhow!("no RSA key can be made"))?,
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map_err(|_| anyhow!("no P-256 key can be made"))?,
        })
    }

    fn rsa_id(&self) -> String {
        format!("{}-rsa", self.id)
    }

    fn ec_id(&self) -> String {
        format!("{}-ec", self.id)
    }

    fn public(&self) -> [Value; 2] {
        let rsa = self.rsa.public_key();
        // An uncompressed point: 4, x, y.
        let point = self.ec.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        [
            json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.rsa_id(),
                "n": encode(rsa.modulus().big_endian_without_leading_zero()),
                "e": encode(rsa.exponent().big_endian_without_leading_zero()),
            }),
            json!({
                "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.ec_id(),
                "x": encode(x), "y": encode(y),
            }),
        ]
    }

    fn sign_rsa(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| anyhow!("RSA does not sign"))?;
        Ok(signature)
    }
}

#[derive(Debug)]
struct Realm {
    current: Arc<Keys>,
    /// Still published.
    former: Vec<Arc<Keys>>,
    generation: usize,
    faults: BTreeMap<Document, Fault>,
}

#[derive(Debug)]
struct State {
    url: String,
    realms: Mutex<BTreeMap<String, Realm>>,
    /// Other paths that are answered.
    answers: Mutex<BTreeMap<String, Value>>,
    requests: Mutex<BTreeMap<String, u64>>,
    /// Bearer tokens of jobs: the issuer's name and what its tokens say.
    jobs: Mutex<BTreeMap<String, (String, Claims)>>,
    /// Paths that answer what is posted.
    services: Mutex<BTreeMap<String, Service>>,
}

/// Answers what is posted to a path.
#[derive(Clone)]
struct Service(Arc<Answering>);

type Answering = dyn Fn(&Value) -> Result<Value> + Send + Sync;

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running HTTPS server with any number of issuers. Dropping it stops it.
#[derive(Debug)]
pub struct OidcServer {
    state: Arc<State>,
    address: SocketAddr,
    acceptor: TlsAcceptorOf,
    listening: Mutex<Option<tokio::task::JoinHandle<()>>>,
    files: TlsFiles,
    _folder: TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

/// A TLS acceptor; the library's has no `Debug`.
#[derive(Clone)]
struct TlsAcceptorOf(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl OidcServer {
    /// Starts a server certified by [`Authority::of_this_process`].
    pub fn start() -> Result<Self> {
        Self::certified_by(&*Authority::of_this_process()?)
    }

    /// Starts a server certified by another authority.
    pub fn certified_by(authority: &Authority) -> Result<Self> {
        Self::with_names(authority, &[])
    }

    /// Starts a server that stands for these hosts of the public Internet, the first of which its URL names. Whoever
    /// uses [`Self::proxy`] and trusts [`Self::ca_file`] meets it there; nobody else does.
    pub fn in_place_of(hosts: &[&str]) -> Result<Self> {
        Self::with_names(&*Authority::of_this_process()?, hosts)
    }

    fn with_names(authority: &Authority, hosts: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("countersign-issuer-")
            .tempdir()?;
        let files = authority.write_for(folder.path(), hosts)?;
        let chain = vec![CertificateDer::from_pem_file(&files.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&files.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("testkit-issuer")
            .enable_all()
            .build()?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("no free loopback port for the issuer")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            url: match hosts.first() {
                Some(host) => format!("https://{host}"),
                None => format!("https://localhost:{}", address.port()),
            },
            realms: Mutex::default(),
            answers: Mutex::default(),
            requests: Mutex::default(),
            jobs: Mutex::default(),
            services: Mutex::default(),
        });
        let server = Self {
            state,
            address,
            acceptor: TlsAcceptorOf(TlsAcceptor::from(Arc::new(config))),
            listening: Mutex::new(None),
            files,
            _folder: folder,
            runtime: Some(runtime),
        };
        server.listen(listener)?;
        Ok(server)
    }

    fn runtime(&self) -> Result<&tokio::runtime::Runtime> {
        self.runtime.as_ref().context("the issuer has stopped")
    }

    fn listen(&self, listener: TcpListener) -> Result<()> {
        let (state, acceptor) = (self.state.clone(), self.acceptor.0.clone());
        let task = self.runtime()?.spawn(async move {
            // Dropped with this task, which closes the connections: a server that is down answers nobody.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                // A failed accept concerns one client that went away.
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let (state, acceptor) = (state.clone(), acceptor.clone());
                connections.spawn(async move {
                    // Errors here are clients that do not trust us or hang up; the test sees them on its own side.
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let answer = service_fn(move |request| {
                        let state = state.clone();
                        async move { state.served(request).await }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        *locked(&self.listening) = Some(task);
        Ok(())
    }

    /// Closes the port and every connection: who connects is refused.
    pub fn stop_listening(&self) -> Result<()> {
        if let Some(task) = locked(&self.listening).take() {
            task.abort();
            // Only a finished task has closed its port. Its result says that it was aborted.
            let _ = self.runtime()?.block_on(task);
        }
        Ok(())
    }

    /// Opens the same port again.
    pub fn listen_again(&self) -> Result<()> {
        self.stop_listening()?;
        let listener = self
            .runtime()?
            .block_on(TcpListener::bind(self.address))
            .with_context(|| format!("cannot listen on {} again", self.address))?;
        self.listen(listener)
    }

    /// Opens a proxy for HTTPS that leads every connection here, whatever host it is for; the value of `HTTPS_PROXY`.
    pub fn proxy(&self) -> Result<String> {
        let runtime = self.runtime()?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("no free loopback port for the proxy")?;
        let url = format!("http://{}", listener.local_addr()?);
        let target = self.address;
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Errors are clients that hang up.
                tokio::spawn(async move { _ = tunnel(client, target).await });
            }
        });
        Ok(url)
    }

    /// `https://localhost:PORT`, or the host's that it stands for.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// The authority's certificate, to be given to whoever shall trust this server.
    pub fn ca_file(&self) -> &Path {
        &self.files.ca
    }

    /// The issuer whose URL is [`Self::url`] and `/NAME` (the URL alone for the empty name); made, with keys of its own,
    /// when it is first asked for. A name may have slashes (`api/actions`).
    pub fn issuer(&self, name: &str) -> Result<Issuer> {
        ensure!(
            !name.starts_with('/') && !name.ends_with('/'),
            "an issuer's name {name:?} neither begins nor ends with a slash"
        );
        let mut realms = locked(&self.state.realms);
        if !realms.contains_key(name) {
            let realm = Realm {
                current: Arc::new(Keys::generate(name, 1)?),
                former: Vec::new(),
                generation: 1,
                faults: BTreeMap::new(),
            };
            realms.insert(name.to_owned(), realm);
        }
        Ok(Issuer {
            state: self.state.clone(),
            name: name.to_owned(),
            ca: self.files.ca.clone(),
        })
    }

    /// Answers GET of a path (with its query, as sent) with this JSON from now on, or with 404 for `None`.
    pub fn answer(&self, path: &str, answer: Option<Value>) {
        let mut answers = locked(&self.state.answers);
        match answer {
            Some(answer) => _ = answers.insert(path.to_owned(), answer),
            None => _ = answers.remove(path),
        }
    }

    /// Answers JSON that is posted to a path with what a service makes of it; with 400 where it makes nothing.
    pub fn serve(
        &self,
        path: &str,
        service: impl Fn(&Value) -> Result<Value> + Send + Sync + 'static,
    ) {
        locked(&self.state.services).insert(path.to_owned(), Service(Arc::new(service)));
    }

    /// What GitLab's interface says of a project (`group/name`).
    pub fn answer_gitlab_project(&self, project: &str, namespace_id: u64, project_id: u64) {
        let (group, name) = project.rsplit_once('/').unwrap_or(("", project));
        let path = format!("/api/v4/projects/{}", project.replace('/', "%2F"));
        let answer = json!({
            "id": project_id, "name": name, "path": name, "path_with_namespace": project, "visibility": "public",
            "namespace": {"id": namespace_id, "kind": "group", "path": group, "full_path": group},
        });
        self.answer(&path, Some(answer));
    }

    /// What the interface of a GitHub Enterprise Server says of a repository (`owner/name`).
    pub fn answer_github_repository(&self, repository: &str, owner_id: u64, repository_id: u64) {
        let path = format!("/api/v3/repos/{repository}");
        self.answer(
            &path,
            Some(repository_answer(repository, owner_id, repository_id)),
        );
    }

    /// What GitHub's own interface says of a repository (`owner/name`).
    pub fn answer_public_github_repository(
        &self,
        repository: &str,
        owner_id: u64,
        repository_id: u64,
    ) {
        let path = format!("/repos/{repository}");
        self.answer(
            &path,
            Some(repository_answer(repository, owner_id, repository_id)),
        );
    }

    /// What Forgejo's interface says of a repository (`owner/name`).
    pub fn answer_forgejo_repository(&self, repository: &str, owner_id: u64, repository_id: u64) {
        let path = format!("/api/v1/repos/{repository}");
        self.answer(
            &path,
            Some(repository_answer(repository, owner_id, repository_id)),
        );
    }

    /// How often a path (without its query) was asked for, whatever was answered.
    pub fn requests(&self, path: &str) -> u64 {
        locked(&self.state.requests)
            .get(path)
            .copied()
            .unwrap_or_default()
    }

    /// Lets a job ask for tokens with these claims, as a GitHub runner lets it: the values of
    /// `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub fn job(&self, issuer: &Issuer, claims: &Claims) -> (String, String) {
        let bearer = random_hex(20);
        locked(&self.state.jobs).insert(bearer.clone(), (issuer.name.clone(), claims.clone()));
        let url = format!("{}{JOB_TOKENS}?api-version=2.0", self.state.url);
        (url, bearer)
    }
}

/// Reads the head of a CONNECT request, and passes everything after it on.
async fn tunnel(mut client: TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        head.push(client.read_u8().await?);
    }
    if !head.starts_with(b"CONNECT ") {
        return client.write_all(b"HTTP/1.1 405 CONNECT only\r\n\r\n").await;
    }
    let mut server = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut server)
        .await
        .map(drop)
}

fn repository_answer(repository: &str, owner_id: u64, repository_id: u64) -> Value {
    let (owner, name) = repository.split_once('/').unwrap_or(("", repository));
    json!({
        "id": repository_id, "name": name, "full_name": repository, "private": false, "fork": false,
        "owner": {"id": owner_id, "login": owner},
    })
}

impl Drop for OidcServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One issuer of an [`OidcServer`].
#[derive(Debug, Clone)]
pub struct Issuer {
    state: Arc<State>,
    name: String,
    ca: PathBuf,
}

impl Issuer {
    /// Its URL: the `iss` of its tokens.
    pub fn url(&self) -> String {
        self.state.issuer_url(&self.name)
    }

    /// The certificate of the authority that its server is certified by.
    pub fn ca_file(&self) -> &Path {
        &self.ca
    }

    /// A token as the issuer gives it to a job: RS256 by the current key.
    pub fn token(&self, audience: &str, claims: &Claims) -> Result<String> {
        self.token_signed(audience, claims, Signing::Rs256, &KeyId::Current)
    }

    /// A token signed in a way of the test's choice.
    pub fn token_signed(
        &self,
        audience: &str,
        claims: &Claims,
        signing: Signing,
        key: &KeyId,
    ) -> Result<String> {
        self.state.token(&self.name, audience, claims, signing, key)
    }

    /// Takes new keys into use. The old ones stay published until [`Self::withdraw_former_keys`].
    pub fn rotate_keys(&self) -> Result<()> {
        let generation = self.with_realm(|realm| {
            realm.generation += 1;
            realm.generation
        })?;
        let keys = Arc::new(Keys::generate(&self.name, generation)?);
        self.with_realm(|realm| {
            let former = std::mem::replace(&mut realm.current, keys);
            realm.former.push(former);
        })
    }

    /// Publishes the current keys only.
    pub fn withdraw_former_keys(&self) -> Result<()> {
        self.with_realm(|realm| realm.former.clear())
    }

    /// Serves a document wrongly from now on.
    pub fn fail(&self, document: Document, fault: Fault) -> Result<()> {
        self.with_realm(|realm| _ = realm.faults.insert(document, fault))
    }

    /// Serves everything rightly again.
    pub fn heal(&self) -> Result<()> {
        self.with_realm(|realm| realm.faults.clear())
    }

    /// How often a document was asked for, whatever was answered.
    pub fn requests(&self, document: Document) -> u64 {
        locked(&self.state.requests)
            .get(&path_of(&self.name, document))
            .copied()
            .unwrap_or_default()
    }

    fn with_realm<T>(&self, change: impl FnOnce(&mut Realm) -> T) -> Result<T> {
        locked(&self.state.realms)
            .get_mut(&self.name)
            .map(change)
            .with_context(|| format!("there is no issuer {:?}", self.name))
    }
}

fn path_of(issuer: &str, document: Document) -> String {
    let folder = if issuer.is_empty() {
        String::new()
    } else {
        format!("/{issuer}")
    };
    match document {
        Document::Discovery => format!("{folder}/.well-known/openid-configuration"),
        Document::Keys => format!("{folder}/jwks"),
    }
}

fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::rng().fill(random.as_mut_slice());
    hex::encode(random)
}

fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_secs())?)
}

/// A public key in PEM, in lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.push_str("-----END PUBLIC KEY-----\n");
    text
}

impl State {
    fn issuer_url(&self, name: &str) -> String {
        if name.is_empty() {
            self.url.clone()
        } else {
            format!("{}/{name}", self.url)
        }
    }

    fn token(
        &self,
        issuer: &str,
        audience: &str,
        claims: &Claims,
        signing: Signing,
        key: &KeyId,
    ) -> Result<String> {
        let keys = locked(&self.realms)
            .get(issuer)
            .map(|realm| realm.current.clone())
            .with_context(|| format!("there is no issuer {issuer:?}"))?;
        let algorithm = match signing {
            Signing::Rs256 | Signing::ForeignKey => "RS256",
            Signing::Es256 => "ES256",
            Signing::Unsigned => "none",
            Signing::PublicKeyAsSecret => "HS256",
        };
        let mut header = json!({"typ": "JWT", "alg": algorithm});
        match key {
            KeyId::Current if signing == Signing::Es256 => header["kid"] = json!(keys.ec_id()),
            KeyId::Current => header["kid"] = json!(keys.rsa_id()),
            KeyId::Absent => {}
            KeyId::Named(name) => header["kid"] = json!(name),
        }
        let payload = claims.payload(&self.issuer_url(issuer), audience, now()?, random_hex(16));
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(payload.to_string())
        );
        let signature = match signing {
            Signing::Rs256 => keys.sign_rsa(message.as_bytes())?,
            Signing::ForeignKey => Keys::generate(issuer, 0)?.sign_rsa(message.as_bytes())?,
            Signing::Es256 => keys
                .ec
                .sign(&SystemRandom::new(), message.as_bytes())
                .map_err(|_| anyhow!("P-256 does not sign"))?
                .as_ref()
                .to_vec(),
            Signing::Unsigned => Vec::new(),
            Signing::PublicKeyAsSecret => {
                let der = keys
                    .rsa
                    .public_key()
                    .as_der()
                    .map_err(|_| anyhow!("the RSA key has no DER form"))?;
                let secret = pem(der.as_ref());
                let secret =
                    aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
                aws_lc_rs::hmac::sign(&secret, message.as_bytes())
                    .as_ref()
                    .to_vec()
            }
        };
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The right document of an issuer, and the fault with which it is served.
    fn document(&self, path: &str) -> Option<(Value, Option<Fault>)> {
        let realms = locked(&self.realms);
        let (name, realm, document) = realms.iter().find_map(|(name, realm)| {
            [Document::Discovery, Document::Keys]
                .into_iter()
                .find(|document| path_of(name, *document) == path)
                .map(|document| (name, realm, document))
        })?;
        let fault = realm.faults.get(&document).cloned();
        let body = match document {
            Document::Keys => {
                let keys = std::iter::once(&realm.current).chain(&realm.former);
                json!({"keys": keys.flat_map(|keys| keys.public()).collect::<Vec<_>>()})
            }
            Document::Discovery => {
                let issuer = match &fault {
                    Some(Fault::NamesIssuer(other)) => other.clone(),
                    _ => self.issuer_url(name),
                };
                let keys = match &fault {
                    Some(Fault::KeysAt(other)) => other.clone(),
                    _ => format!("{}{}", self.url, path_of(name, Document::Keys)),
                };
                json!({
                    "issuer": issuer,
                    "jwks_uri": keys,
                    "authorization_endpoint": format!("{issuer}/authorize"),
                    "token_endpoint": format!("{issuer}/token"),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public", "pairwise"],
                    "id_token_signing_alg_values_supported": ["RS256", "ES256"],
                    "scopes_supported": ["openid"],
                    "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti", "nbf"],
                })
            }
        };
        Some((body, fault))
    }

    /// A token for the job whose bearer this is; `None` for a stranger.
    fn job_token(&self, request: &Request<Incoming>) -> Option<Result<String>> {
        let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, bearer) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (issuer, claims) = locked(&self.jobs).get(bearer)?.clone();
        let audience = request.uri().query().unwrap_or_default().split('&');
        let audience = audience
            .filter_map(|pair| pair.strip_prefix("audience="))
            .next_back()
            .map(percent_decoded)
            .unwrap_or_else(|| format!("https://github.com/{}", claims.text("repository_owner")));
        Some(self.token(&issuer, &audience, &claims, Signing::Rs256, &KeyId::Current))
    }

    async fn served(&self, request: Request<Incoming>) -> Result<Response<String>> {
        let service = locked(&self.services).get(request.uri().path()).cloned();
        let Some(service) = service.filter(|_| request.method() == Method::POST) else {
            return self.answer(&request).await;
        };
        let mut body = request.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            if let Ok(piece) = frame?.into_data() {
                bytes.extend_from_slice(&piece);
            }
        }
        let made = serde_json::from_slice(&bytes)
            .map_err(anyhow::Error::from)
            .and_then(|posted| (service.0)(&posted));
        match made {
            Ok(answer) => reply(201, &answer),
            Err(error) => reply(400, &json!({"message": format!("{error:#}")})),
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Result<Response<String>> {
        let path = request.uri().path();
        *locked(&self.requests).entry(path.to_owned()).or_default() += 1;
        if path == JOB_TOKENS {
            return match self.job_token(request) {
                Some(token) => reply(200, &json!({"value": token?})),
                None => reply(401, &json!({"message": "no such job"})),
            };
        }
        let Some((mut body, fault)) = self.document(path) else {
            let asked = request
                .uri()
                .path_and_query()
                .map_or(path, |asked| asked.as_str());
            return match locked(&self.answers).get(asked) {
                Some(answer) => reply(200, answer),
                None => reply(404, &json!({"message": "404 Not Found"})),
            };
        };
        match fault {
            None | Some(Fault::NamesIssuer(_) | Fault::KeysAt(_)) => {}
            Some(Fault::Closed) => return Err(anyhow!("closed on purpose")),
            Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
            Some(Fault::Status(status)) => {
                return reply(status, &json!({"message": "an error on purpose"}));
            }
            Some(Fault::RedirectTo(to)) => {
                return Ok(Response::builder()
                    .status(302)
                    .header(LOCATION, to)
                    .body(String::new())?);
            }
            Some(Fault::Oversized(bytes)) => body["filler"] = json!("x".repeat(bytes)),
            Some(Fault::Garbage) => {
                return Ok(Response::builder()
                    .status(200)
                    .header(CONTENT_TYPE, "text/html")
                    .body("<!doctype html><title>Sign in</title>".to_owned())?);
            }
        }
        reply(200, &body)
    }
}

fn reply(status: u16, body: &Value) -> Result<Response<String>> {
    Ok(Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string())?)
}

/// A query value without its percent signs.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let decoded = match (first, tail) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok()),
            _ => None,
        };
        bytes.push(match (decoded, first) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, byte) => byte,
        });
        rest = &tail[if decoded.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
        UnparsedPublicKey,
    };

    use super::*;
    use crate::claims;
    use crate::http::{get, request};

    fn decoded(part: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    /// Header and claims of a token that verifies under the issuer's served keys, or `None` if it does not.
    fn verified(issuer: &Issuer, token: &str) -> Option<(Value, Value)> {
        let discovery = format!("{}/.well-known/openid-configuration", issuer.url());
        let discovery = get(&discovery).unwrap().json().unwrap();
        assert_eq!(discovery["issuer"], issuer.url().as_str());
        let keys = get(discovery["jwks_uri"].as_str().unwrap()).unwrap();
        let keys = keys.json().unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let header: Value = serde_json::from_slice(&decoded(parts[0])).unwrap();
        let claims: Value = serde_json::from_slice(&decoded(parts[1])).unwrap();
        let message = format!("{}.{}", parts[0], parts[1]);
        let key = keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kid"] == header["kid"])?;
        let part = |name: &str| decoded(key[name].as_str().unwrap());
        let good = if key["kty"] == "RSA" {
            let (n, e) = (part("n"), part("e"));
            RsaPublicKeyComponents { n: &n, e: &e }
                .verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message.as_bytes(),
                    &decoded(parts[2]),
                )
                .is_ok()
        } else {
            let point = [vec![4], part("x"), part("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message.as_bytes(), &decoded(parts[2]))
                .is_ok()
        };
        good.then_some((header, claims))
    }

    #[test]
    fn tokens_verify_under_the_served_keys_and_forged_ones_do_not() {
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("github").unwrap();
        let claims = claims::github("octo/sample", "release.yml");
        for signing in [Signing::Rs256, Signing::Es256] {
            let token = issuer.token_signed("us", &claims, signing, &KeyId::Current);
            let (_, said) = verified(&issuer, &token.unwrap()).unwrap();
            assert_eq!(said["aud"], "us");
            assert_eq!(said["iss"], issuer.url().as_str());
            assert_eq!(said["repository"], "octo/sample");
        }
        for signing in [
            Signing::Unsigned,
            Signing::PublicKeyAsSecret,
            Signing::ForeignKey,
        ] {
            let token = issuer.token_signed("us", &claims, signing, &KeyId::Current);
            assert!(verified(&issuer, &token.unwrap()).is_none(), "{signing:?}");
        }
        // The same subject by another issuer of the same server.
        let other = server.issuer("other").unwrap();
        assert!(verified(&issuer, &other.token("us", &claims).unwrap()).is_none());
    }

    #[test]
    fn rotation_publishes_both_generations_until_the_former_is_withdrawn() {
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("").unwrap();
        assert_eq!(issuer.url(), server.url());
        let before = issuer.token("us", &Claims::new()).unwrap();
        issuer.rotate_keys().unwrap();
        let after = issuer.token("us", &Claims::new()).unwrap();
        assert!(verified(&issuer, &before).is_some() && verified(&issuer, &after).is_some());
        issuer.withdraw_former_keys().unwrap();
        assert!(verified(&issuer, &before).is_none() && verified(&issuer, &after).is_some());
    }

    #[test]
    fn faults_are_served_counted_and_healed() {
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("api/actions").unwrap();
        let url = format!("{}/jwks", issuer.url());
        for (fault, status) in [
            (Fault::Status(500), 500),
            (Fault::RedirectTo("https://example.org/".to_owned()), 302),
            (Fault::Garbage, 200),
        ] {
            issuer.fail(Document::Keys, fault).unwrap();
            assert_eq!(get(&url).unwrap().status, status);
        }
        issuer
            .fail(Document::Keys, Fault::Oversized(300_000))
            .unwrap();
        assert!(get(&url).unwrap().body.len() > 300_000);
        issuer.fail(Document::Keys, Fault::Closed).unwrap();
        assert!(get(&url).is_err());
        issuer.heal().unwrap();
        assert_eq!(get(&url).unwrap().status, 200);
        assert_eq!(issuer.requests(Document::Keys), 6);
        server.stop_listening().unwrap();
        assert!(get(&url).is_err());
        server.listen_again().unwrap();
        assert_eq!(get(&url).unwrap().status, 200);
        assert_eq!(issuer.requests(Document::Discovery), 0);
    }

    #[test]
    fn a_job_gets_a_token_for_the_audience_it_names_and_a_stranger_none() {
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("github").unwrap();
        let claims = claims::github("octo/sample", "release.yml");
        let (url, bearer) = server.job(&issuer, &claims);
        let bearer = format!("bearer {bearer}");
        let url = format!("{url}&audience=https%3A%2F%2Fpackages.example%2Fpypi");
        let answer = request("GET", &url, &[("Authorization", &bearer)], &[]).unwrap();
        let token = answer.json().unwrap();
        let (_, said) = verified(&issuer, token["value"].as_str().unwrap()).unwrap();
        assert_eq!(said["aud"], "https://packages.example/pypi");
        let answer = request("GET", &url, &[("Authorization", "bearer x")], &[]).unwrap();
        assert_eq!(answer.status, 401);
    }

    #[test]
    fn who_does_not_know_the_authority_does_not_connect() {
        let stranger = Authority::new("Another authority").unwrap();
        let server = OidcServer::certified_by(&stranger).unwrap();
        let issuer = server.issuer("github").unwrap();
        assert!(get(&format!("{}/jwks", issuer.url())).is_err());
        assert_eq!(issuer.requests(Document::Keys), 0);
    }
}
