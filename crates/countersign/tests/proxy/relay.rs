//! Somebody between a client and its registry, who answers as a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_testkit::http;

/// What comes instead of the registry's answer.
#[derive(Clone)]
pub enum Twist {
    /// Nothing else: the registry's own.
    Pass,
    /// A status and a body.
    Say(u16, Vec<u8>),
    /// The registry's own, with this done to it.
    Change(Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>),
    /// Without end.
    Endless,
    /// A byte now and then.
    Slow,
    /// Small pieces without end, none of which is late.
    Trickle,
    /// A beginning, and then nothing.
    Stall,
    /// Nobody is there.
    HangUp,
}

type Own = Arc<dyn Fn(&str, &str, &[(String, String)], &[u8]) -> (u16, Vec<u8>) + Send + Sync>;
type Decide = Arc<dyn Fn(&str) -> Twist + Send + Sync>;

pub struct Relay {
    address: SocketAddr,
    decide: Arc<Mutex<Decide>>,
    seen: Arc<Mutex<Vec<String>>>,
    logins: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// In front of the registry at `to`.
    pub fn start(to: &str) -> Self {
        let to = to.to_owned();
        Self::before(move |method, path, headers, body| {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
            let answer = http::request(method, &format!("{to}{path}"), &headers, body).unwrap();
            (answer.status, answer.body)
        })
    }

    /// In front of whoever answers so.
    pub fn before(
        own: impl Fn(&str, &str, &[(String, String)], &[u8]) -> (u16, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let own: Own = Arc::new(own);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let honest: Decide = Arc::new(|_| Twist::Pass);
        let decide = Arc::new(Mutex::new(honest));
        let (seen, logins) = (Arc::default(), Arc::default());
        let relay = Self {
            address,
            decide: decide.clone(),
            seen: Arc::clone(&seen),
            logins: Arc::clone(&logins),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (own, decide) = (own.clone(), decide.clone());
                let (seen, logins) = (seen.clone(), logins.clone());
                std::thread::spawn(move || {
                    // A client that went away is the test's business.
                    let _ = serve(&mut stream.unwrap(), &own, &decide, &seen, &logins);
                });
            }
        });
        relay
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on answers as this says for each path.
    pub fn twist(&self, decide: impl Fn(&str) -> Twist + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Arc::new(decide);
    }

    pub fn honest(&self) {
        self.twist(|_| Twist::Pass);
    }

    /// The paths that were asked for since this was called last.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The authorizations that were sent.
    pub fn logins(&self) -> Vec<String> {
        self.logins.lock().unwrap().clone()
    }
}

fn serve(
    stream: &mut TcpStream,
    own: &Own,
    decide: &Mutex<Decide>,
    seen: &Mutex<Vec<String>>,
    logins: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut headers, mut length) = (String::new(), Vec::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "authorization" => {
                    logins.lock().unwrap().push(value.to_owned());
                    headers.push((name.to_owned(), value.to_owned()));
                }
                "content-length" => length = value.parse().unwrap(),
                "accept" | "content-type" => headers.push((name.to_owned(), value.to_owned())),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap_or("/"));
    seen.lock().unwrap().push(path.to_owned());
    let decide = decide.lock().unwrap().clone();
    let own = || own(method, path, &headers, &body);
    let (status, body) = match decide(path) {
        Twist::Pass => own(),
        Twist::Say(status, body) => (status, body),
        Twist::Change(change) => {
            let (status, body) = own();
            (status, change(body))
        }
        Twist::HangUp => return Ok(()),
        Twist::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            let piece = vec![b'a'; 64 << 10];
            loop {
                stream.write_all(&piece)?;
            }
        }
        Twist::Trickle => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'a'; 128])?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Twist::Stall => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{")?;
            // Until the client goes away.
            let mut byte = [0];
            reader.read_exact(&mut byte)?;
            return Ok(());
        }
        Twist::Slow => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(b"a")?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()
}

pub fn is(path: &str, within: &str, end: &str) -> bool {
    path.contains(within) && path.ends_with(end)
}

pub fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// A path whose answer is changed.
pub fn changing(
    start: &'static str,
    end: &'static str,
    change: fn(Vec<u8>) -> Vec<u8>,
) -> impl Fn(&str) -> Twist + Send + Sync {
    move |path| match is(path, start, end) {
        true => Twist::Change(Arc::new(change)),
        false => Twist::Pass,
    }
}
