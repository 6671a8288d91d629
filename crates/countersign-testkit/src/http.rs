//! A raw HTTP/1.1 caller for protocol tests: it sends exactly the bytes it is told, as slowly as it is told, and
//! shows what came back, the reason phrase included (which ordinary HTTP libraries hide).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::authority::Authority;

/// More than any test answer holds; a server that sends more has gone wrong.
const LONGEST_BODY: u64 = 1 << 30;
const LONGEST_LINE: u64 = 64 << 10;
const MOST_HEADERS: usize = 200;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// Such as `HTTP/1.1`.
    pub version: String,
    /// Such as 404.
    pub status: u16,
    /// The text after the status code, which pip and twine print.
    pub reason: String,
    /// In the order received, names as received.
    pub headers: Vec<(String, String)>,
    /// Unchunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are no UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. The error shows the status and the beginning of the body.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "no JSON in the answer {} {}: {:.300}",
                self.status,
                self.reason,
                self.text()
            )
        })
    }

    /// This answer if its status is `status`, else an error that shows what came.
    pub fn expect_status(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "expected {status}, got {} {}: {:.600}",
            self.status,
            self.reason,
            self.text()
        );
        Ok(self)
    }
}

/// An HTTP address taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is `https`.
    pub tls: bool,
    /// `host:port`.
    pub authority: String,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl std::str::FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self> {
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => bail!("{url:?} is neither an http:// nor an https:// address"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes()[at] == b'/' => (&rest[..at], rest[at..].to_owned()),
            Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
            None => (rest, "/".to_owned()),
        };
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{}", if tls { 443 } else { 80 })
        };
        Ok(Self {
            tls,
            authority,
            path,
        })
    }
}

/// What a connection runs over.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection on which a test says what it likes.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<Stream>,
}

impl Connection {
    /// Connects to `host:port` without TLS; reads and writes that stand still for 60 seconds fail.
    pub fn open(authority: &str) -> Result<Self> {
        Self::over(Stream::Plain(Self::connect(authority)?))
    }

    /// Connects to `host:port` by TLS, trusting [`Authority::of_this_process`] and nothing else.
    pub fn open_tls(authority: &str) -> Result<Self> {
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("{host:?} is no name of a TLS server"))?;
        let session = ClientConnection::new(trust()?, name)?;
        let stream = StreamOwned::new(session, Self::connect(authority)?);
        Self::over(Stream::Tls(Box::new(stream)))
    }

    fn connect(authority: &str) -> Result<TcpStream> {
        let socket = TcpStream::connect(authority)
            .with_context(|| format!("cannot connect to {authority}"))?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    fn over(stream: Stream) -> Result<Self> {
        let mut connection = Self {
            stream: BufReader::new(stream),
        };
        connection.patience(Duration::from_secs(60))?;
        Ok(connection)
    }

    /// How long a single read or write may stand still.
    pub fn patience(&mut self, limit: Duration) -> Result<()> {
        let socket = self.stream.get_ref().socket();
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(limit))?;
        Ok(())
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream
            .write_all(bytes)
            .and_then(|()| stream.flush())
            .context("the server closed the connection while we were sending")
    }

    /// Sends bytes in pieces of `piece` bytes with a pause after each.
    pub fn send_slowly(&mut self, bytes: &[u8], piece: usize, pause: Duration) -> Result<()> {
        for part in bytes.chunks(piece.max(1)) {
            self.send(part)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Says that nothing more will be sent, and leaves the other direction open.
    pub fn finish_sending(&mut self) -> Result<()> {
        self.stream
            .get_ref()
            .socket()
            .shutdown(Shutdown::Write)
            .context("cannot half-close")
    }

    /// Reads one answer. `to_head` says that the request was HEAD, whose answer has no body.
    pub fn read_response(&mut self, to_head: bool) -> Result<Response> {
        loop {
            let response = self.read_one(to_head)?;
            if response.status != 100 {
                return Ok(response);
            }
        }
    }

    fn read_one(&mut self, to_head: bool) -> Result<Response> {
        let status_line = self.read_line().context("no status line")?;
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        ensure!(
            version.starts_with("HTTP/1."),
            "not an HTTP/1 status line: {status_line:?}"
        );
        let status = words
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("bad status: {status_line:?}"))?;
        let reason = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().context("headers end too early")?;
            if line.is_empty() {
                break;
            }
            ensure!(
                headers.len() < MOST_HEADERS,
                "more than {MOST_HEADERS} headers"
            );
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("not a header: {line:?}"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut response = Response {
            version,
            status,
            reason,
            headers,
            body: Vec::new(),
        };
        let without_body =
            to_head || status == 204 || status == 304 || (100..200).contains(&status);
        if without_body {
            return Ok(response);
        }
        response.body = self.read_body(&response)?;
        Ok(response)
    }

    fn read_body(&mut self, response: &Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if response
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            loop {
                let line = self.read_line().context("chunked body ends too early")?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16)
                    .with_context(|| format!("bad chunk size {line:?}"))?;
                ensure!(
                    body.len() as u64 + size <= LONGEST_BODY,
                    "body over {LONGEST_BODY} bytes"
                );
                if size == 0 {
                    while !self.read_line()?.is_empty() {}
                    return Ok(body);
                }
                self.read_exactly(size, &mut body)?;
                ensure!(self.read_line()?.is_empty(), "no line end after a chunk");
            }
        }
        match response.header("content-length") {
            Some(length) => {
                let length: u64 = length
                    .parse()
                    .with_context(|| format!("bad Content-Length {length:?}"))?;
                ensure!(length <= LONGEST_BODY, "body of {length} bytes announced");
                self.read_exactly(length, &mut body)?;
            }
            None => {
                (&mut self.stream)
                    .take(LONGEST_BODY)
                    .read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn read_exactly(&mut self, count: u64, into: &mut Vec<u8>) -> Result<()> {
        let got = (&mut self.stream).take(count).read_to_end(into)?;
        ensure!(
            got as u64 == count,
            "body ends after {got} of {count} bytes"
        );
        Ok(())
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let got = (&mut self.stream)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        ensure!(got > 0, "the server closed the connection");
        ensure!(
            line.ends_with(b"\n"),
            "line over {LONGEST_LINE} bytes, or cut off"
        );
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
        // HTTP/1 heads are latin-1.
        Ok(line.into_iter().map(char::from).collect())
    }

    /// Whether the server has closed its side (reads nothing that matters).
    pub fn is_closed_by_server(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }
}

/// Trust in the kit's own authority alone.
fn trust() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        Authority::of_this_process()?.pem().as_bytes(),
    )?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// One request on a connection of its own, by TLS where the address says so. `headers` are added to Host, Content-Length and `Connection: close`.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
    let address: Address = url.parse()?;
    let mut connection = if address.tls {
        Connection::open_tls(&address.authority)?
    } else {
        Connection::open(&address.authority)?
    };
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        address.path, address.authority
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    connection.send(head.as_bytes())?;
    // A server may refuse and close before it has read the body; its answer matters more than our broken pipe.
    let sent = connection.send(body);
    match (connection.read_response(method == "HEAD"), sent) {
        (Ok(response), _) => Ok(response),
        (Err(_), Err(sending)) => Err(sending),
        (Err(reading), Ok(())) => Err(reading.context(format!("{method} {url}"))),
    }
}

/// GET on a connection of its own.
pub fn get(url: &str) -> Result<Response> {
    request("GET", url, &[], &[])
}

/// The value of an `Authorization` header for a user and a password or token.
pub fn basic_authorization(user: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"))
    )
}

/// A `multipart/form-data` body: the value of Content-Type, and the bytes. `file` is (field, filename, bytes).
pub fn multipart(fields: &[(&str, &str)], file: Option<(&str, &str, &[u8])>) -> (String, Vec<u8>) {
    let boundary = "countersign-testkit-9f1c7a52e0b84d36";
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }
    if let Some((field, filename, bytes)) = file {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{filename}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with fixed bytes and returns what it was sent.
    fn serve_once(answer: &'static [u8]) -> (String, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = vec![0; 4096];
            let mut length = 0;
            while !received[..length]
                .windows(4)
                .any(|window| window == b"\r\n\r\n")
            {
                match stream.read(&mut received[length..]).unwrap() {
                    0 => break,
                    got => length += got,
                }
            }
            stream.write_all(answer).unwrap();
            received.truncate(length);
            received
        });
        (authority, thread)
    }

    #[test]
    fn reason_phrase_and_repeated_headers_are_seen_as_sent() {
        let (authority, server) =
            serve_once(b"HTTP/1.1 400 File already exists: caf\xe9\r\nX: 1\r\nx: 2\r\nContent-Length: 2\r\n\r\nhi");
        let response = get(&format!("http://{authority}/a?b=c")).unwrap();
        assert_eq!(
            (response.status, response.reason.as_str()),
            (400, "File already exists: caf\u{e9}")
        );
        assert_eq!(
            response
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("x"))
                .count(),
            2
        );
        assert_eq!(response.body, b"hi");
        assert!(
            server
                .join()
                .unwrap()
                .starts_with(b"GET /a?b=c HTTP/1.1\r\n")
        );
    }

    #[test]
    fn chunked_bodies_are_joined() {
        let (authority, _server) =
            serve_once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
        assert_eq!(get(&format!("http://{authority}/")).unwrap().body, b"abcde");
    }

    #[test]
    fn a_body_that_is_cut_off_is_an_error() {
        let (authority, _server) = serve_once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        let error = get(&format!("http://{authority}/")).unwrap_err();
        assert!(format!("{error:#}").contains("3 of 9"), "{error:#}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        let address: Address = "http://user:secret@localhost:81/x?y#z".parse().unwrap();
        assert_eq!(
            address,
            Address {
                tls: false,
                authority: "localhost:81".into(),
                path: "/x?y".into()
            }
        );
        assert_eq!(
            "http://localhost".parse::<Address>().unwrap().authority,
            "localhost:80"
        );
        let secure: Address = "https://localhost/a".parse().unwrap();
        assert_eq!(
            (secure.tls, secure.authority.as_str(), secure.path.as_str()),
            (true, "localhost:443", "/a")
        );
        assert!("ftp://localhost".parse::<Address>().is_err());
    }
}
