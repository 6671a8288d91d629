//! A server that answers what a test says, one connection per request, and remembers what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is answered.
pub struct Answer {
    /// None is no answer at all.
    status: Option<u16>,
    /// Whether the connection stays open without one.
    silent: bool,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    pub fn status(status: u16, body: &str) -> Self {
        Self {
            status: Some(status),
            silent: false,
            headers: String::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    pub fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self {
            body,
            ..Self::status(status, "")
        }
    }

    pub fn hang_up() -> Self {
        Self {
            status: None,
            silent: false,
            headers: String::new(),
            body: Vec::new(),
        }
    }

    /// Says nothing and keeps the line.
    pub fn silence() -> Self {
        Self {
            silent: true,
            ..Self::hang_up()
        }
    }

    pub fn header(mut self, line: &str) -> Self {
        self.headers.push_str(&format!("{line}\r\n"));
        self
    }
}

pub struct Stub {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// `answer` is given how many requests there were before, and the request as text.
    pub fn start(answer: impl Fn(usize, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let memory = seen.clone();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                let number = memory.lock().unwrap().len();
                let answer = answer(number, &request);
                memory.lock().unwrap().push(request);
                if answer.silent {
                    open.push(stream);
                    continue;
                }
                let Some(status) = answer.status else {
                    continue;
                };
                let head = format!(
                    "HTTP/1.1 {status} X\r\n{}Connection: close\r\nContent-Length: {}\r\n\r\n",
                    answer.headers,
                    answer.body.len()
                );
                // A client that went away is the test's business.
                _ = stream.write_all(&[head.as_bytes(), &answer.body].concat());
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, with what is no UTF-8 in them replaced.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}
