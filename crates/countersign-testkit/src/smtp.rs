//! A real, small SMTP server: STARTTLS under the kit's authority, AUTH PLAIN, and every mail it took. It can refuse as
//! servers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Authority;

/// The most bytes of one mail.
const MOST: u64 = 4 << 20;

/// A mail as it came over the wire.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Headers and body, as sent.
    pub data: String,
    /// Did it come under TLS?
    pub under_tls: bool,
    /// Who had logged in.
    pub user: Option<String>,
}

impl Mail {
    /// A header's value, unfolded; the first of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.data.split_once("\r\n\r\n")?;
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        unfolded.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    /// The body with quoted-printable undone, all parts together.
    pub fn text(&self) -> String {
        let joined = self.data.replace("=\r\n", "");
        let bytes = joined.as_bytes();
        let mut text = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let hex = bytes
                .get(at + 1..at + 3)
                .and_then(|pair| std::str::from_utf8(pair).ok());
            match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
                Some(value) if byte == b'=' => {
                    text.push(value);
                    at += 3;
                }
                _ => {
                    text.push(byte);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// How the server behaves.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Offer STARTTLS?
    pub starttls: bool,
    /// User and password that must be given first.
    pub login: Option<(String, String)>,
    /// What every recipient is answered instead of 250.
    pub refuse: Option<String>,
}

struct State {
    manners: Mutex<Manners>,
    taken: Mutex<Vec<Mail>>,
    tls: Arc<ServerConfig>,
    stopping: AtomicBool,
}

/// The running server.
pub struct SmtpServer {
    state: Arc<State>,
    address: SocketAddr,
}

impl SmtpServer {
    /// Starts one, certified by [`Authority::of_this_process`].
    pub fn start(manners: Manners) -> Result<Self> {
        let certified = Authority::of_this_process()?.certify()?;
        let chain = vec![CertificateDer::from_pem_slice(
            certified.certificate.as_bytes(),
        )?];
        let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the mail server")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            manners: Mutex::new(manners),
            taken: Mutex::default(),
            tls: Arc::new(tls),
            stopping: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::Builder::new()
            .name("testkit-smtp".to_owned())
            .spawn(move || {
                for socket in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(socket) = socket else { continue };
                    let shared = shared.clone();
                    // A caller that hangs up in the middle is what some tests are about.
                    std::thread::spawn(move || drop(converse(&shared, socket)));
                }
            })?;
        Ok(Self { state, address })
    }

    /// Its port on 127.0.0.1; its certificate is for `localhost` too.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Behaves differently from now on.
    pub fn behave(&self, manners: Manners) {
        *self
            .state
            .manners
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = manners;
    }

    /// Every mail taken so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.state
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a mail to an address that says something; the newest of them.
    pub fn wait_for(&self, to: &str, says: &str) -> Result<Mail> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self
                .mails()
                .into_iter()
                .rev()
                .find(|mail| mail.to.iter().any(|one| one == to) && mail.text().contains(says));
            if let Some(mail) = found {
                return Ok(mail);
            }
            if Instant::now() > deadline {
                bail!(
                    "no mail to {to} says {says:?}; there are {:?}",
                    self.mails()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        // One more caller, so that the listener looks up.
        drop(TcpStream::connect(self.address));
    }
}

/// Where a conversation stands.
#[derive(Default)]
struct Talk {
    under_tls: bool,
    user: Option<String>,
    from: Option<String>,
    to: Vec<String>,
}

fn converse(state: &State, socket: TcpStream) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut plain = BufReader::new(socket);
    plain.get_mut().write_all(b"220 localhost ready\r\n")?;
    let mut talk = Talk::default();
    if !commands(state, &mut plain, &mut talk)? {
        return Ok(());
    }
    let connection = ServerConnection::new(state.tls.clone())?;
    let stream = StreamOwned::new(connection, plain.into_inner());
    talk = Talk {
        under_tls: true,
        ..Talk::default()
    };
    commands(state, &mut BufReader::new(stream), &mut talk)?;
    Ok(())
}

/// Takes commands until the caller goes, or until it asks for TLS (true).
fn commands<S: Read + Write>(
    state: &State,
    stream: &mut BufReader<S>,
    talk: &mut Talk,
) -> Result<bool> {
    loop {
        let mut line = String::new();
        if stream.by_ref().take(2_000).read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim_end();
        let manners = state
            .manners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" | "HELO" => {
                let mut words = vec!["localhost".to_owned(), "8BITMIME".to_owned()];
                if manners.starttls && !talk.under_tls {
                    words.push("STARTTLS".to_owned());
                }
                if manners.login.is_some() {
                    words.push("AUTH PLAIN".to_owned());
                }
                let last = words.len() - 1;
                let lines: Vec<String> = words
                    .iter()
                    .enumerate()
                    .map(|(at, word)| format!("250{}{word}", if at == last { ' ' } else { '-' }))
                    .collect();
                lines.join("\r\n")
            }
            "STARTTLS" if manners.starttls && !talk.under_tls => {
                stream.get_mut().write_all(b"220 go ahead\r\n")?;
                return Ok(true);
            }
            "AUTH" => login(line, &manners, talk),
            "MAIL" if manners.login.is_some() && talk.user.is_none() => {
                "530 5.7.0 log in first".to_owned()
            }
            "MAIL" => {
                talk.from = Some(angled(line));
                talk.to.clear();
                "250 ok".to_owned()
            }
            "RCPT" => match manners.refuse {
                Some(refusal) => refusal,
                None => {
                    talk.to.push(angled(line));
                    "250 ok".to_owned()
                }
            },
            "DATA" if !talk.to.is_empty() => {
                stream.get_mut().write_all(b"354 end with a dot\r\n")?;
                let data = body(stream)?;
                state
                    .taken
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Mail {
                        from: talk.from.take().unwrap_or_default(),
                        to: std::mem::take(&mut talk.to),
                        data,
                        under_tls: talk.under_tls,
                        user: talk.user.clone(),
                    });
                "250 taken".to_owned()
            }
            "RSET" | "NOOP" => "250 ok".to_owned(),
            "QUIT" => {
                stream.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(false);
            }
            _ => "503 not now".to_owned(),
        };
        let stream = stream.get_mut();
        stream.write_all(answer.as_bytes())?;
        stream.write_all(b"\r\n")?;
        stream.flush()?;
    }
}

fn login(line: &str, manners: &Manners, talk: &mut Talk) -> String {
    let given = line
        .split(' ')
        .nth(2)
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let mut parts = given.split('\0').skip(1);
    let pair = (parts.next(), parts.next());
    match &manners.login {
        Some((user, password)) if pair == (Some(user.as_str()), Some(password.as_str())) => {
            talk.user = Some(user.clone());
            "235 2.7.0 welcome".to_owned()
        }
        _ => "535 5.7.8 wrong".to_owned(),
    }
}

/// What stands between the angle brackets.
fn angled(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or_else(String::new, |(address, _)| address.to_owned())
}

/// A mail up to its lone dot, with doubled dots undone.
fn body<S: Read>(stream: &mut BufReader<S>) -> Result<String> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.by_ref().take(MOST).read_until(b'\n', &mut line)? == 0 {
            bail!("the caller went in the middle of a mail");
        }
        if line == b".\r\n" {
            return Ok(String::from_utf8_lossy(&data).into_owned());
        }
        if data.len() + line.len() > MOST as usize {
            bail!("the mail is too large");
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
