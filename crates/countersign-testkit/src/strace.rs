//! Records the system calls of a command with strace, and reads the record back as one ordered list, so that a test can
//! say what must be on disk before what is sent.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::machine::output_of;

/// The calls that matter for durability and for acknowledgements.
pub const CALLS: &str = "fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,\
                         mkdirat,openat,pwrite64,pwritev,write,writev,copy_file_range,sendfile,splice,ftruncate,\
                         sendto,sendmsg";

/// One finished system call. Order is that of completion.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemCall {
    /// Thread that made it.
    pub thread: u32,
    /// Seconds since 1970 at which it began.
    pub began: f64,
    /// Place of its beginning in the record, to be compared with [`Self::finished_at`] of other calls.
    pub began_at: usize,
    /// Place of its end in the record.
    pub finished_at: usize,
    /// Such as `fsync`.
    pub name: String,
    /// Everything between the parentheses; file descriptors carry their path as `7</path>`.
    pub arguments: String,
    /// Return value; negative is an error.
    pub result: i64,
}

impl SystemCall {
    /// The path (or `socket:[…]`, `TCP:[…]`) of the file descriptor that is the first argument.
    pub fn target(&self) -> Option<&str> {
        let begin = self.arguments.find('<')? + 1;
        let digits = &self.arguments[..begin - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // `->` stands inside the description of a connected socket.
        let rest = &self.arguments[begin..];
        let mut end = 0;
        for (at, _) in rest.match_indices('>') {
            if !rest[..at].ends_with('-') {
                end = at;
                break;
            }
        }
        Some(&rest[..end])
    }

    /// Whether it is `fsync` or `fdatasync`, and succeeded.
    pub fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.result == 0
    }
}

/// A command line that runs `program` under strace and writes the record to `log`. Threads and children are followed;
/// strings are cut after `string_limit` bytes.
pub fn command(program: &Path, log: &Path, string_limit: usize) -> Command {
    let mut command = Command::new("strace");
    // -D: strace is the grandchild, so that the process we hold and kill is the program itself.
    command.args([
        "-D",
        "-f",
        "-ttt",
        "-yy",
        "--quiet=all",
        "-s",
        &string_limit.to_string(),
    ]);
    command
        .arg("-e")
        .arg(format!("trace={CALLS}"))
        .arg("-o")
        .arg(log)
        .arg("--")
        .arg(program);
    command
}

/// A command line that runs `program` with faults in its system calls, in the words of strace.
pub fn injected(program: &Path, inject: &str) -> Command {
    let call = inject.split(':').next().unwrap_or_default();
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
    ]);
    command
        .args([&format!("inject={inject}"), "--"])
        .arg(program);
    command
}

/// A running process whose system calls meet faults until this is dropped.
#[derive(Debug)]
pub struct Faults {
    strace: Child,
}

impl Faults {
    /// Attaches to a process and all its threads. `inject` is in the words of strace, such as `fsync:error=EIO:when=2`
    /// (each thread counts for itself).
    pub fn attach(process: u32, inject: &str) -> Result<Self> {
        let call = inject.split(':').next().unwrap_or_default();
        let mut strace = Command::new("strace")
            .args([
                "-f",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
            ])
            .args([&format!("inject={inject}"), "-p", &process.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `strace`")?;
        let mut said = BufReader::new(strace.stderr.take().context("it was piped")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let faults = Self { strace };
        ensure!(line.contains("attached"), "strace said {line:?}");
        // Someone must go on reading what it says of threads that begin.
        std::thread::spawn(move || said.lines().for_each(drop));
        Ok(faults)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // It lets the process go on by itself when it is told to end; errors would mean that it is gone already.
        let told = output_of(Command::new("kill").args(["-INT", &self.strace.id().to_string()]));
        drop((told, self.strace.wait()));
    }
}

/// Reads a record back. Lines cut in two by another thread are joined; signals and exits are left out; so is a last
/// line that was cut off by a kill.
pub fn parse(log: &str) -> Result<Vec<SystemCall>> {
    let mut calls = Vec::new();
    let mut unfinished: Vec<(u32, f64, usize, String)> = Vec::new();
    let lines: Vec<&str> = log.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        match parse_line(number, line, &mut unfinished) {
            Ok(Some(call)) => calls.push(call),
            Ok(None) => {}
            Err(_) if number + 1 == lines.len() => {}
            Err(error) => {
                return Err(error.context(format!("strace line {}: {line:?}", number + 1)));
            }
        }
    }
    Ok(calls)
}

fn parse_line(
    number: usize,
    line: &str,
    unfinished: &mut Vec<(u32, f64, usize, String)>,
) -> Result<Option<SystemCall>> {
    let (thread, rest) = line.trim_start().split_once(' ').context("no thread")?;
    let thread: u32 = thread.parse().context("no thread number")?;
    let (time, rest) = rest.trim_start().split_once(' ').context("no time")?;
    let mut began: f64 = time.parse().context("no time")?;
    let rest = rest.trim();
    if rest.starts_with("---") || rest.starts_with("+++") {
        return Ok(None);
    }
    if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
        unfinished.push((thread, began, number, begin.trim_end().to_owned()));
        return Ok(None);
    }
    let mut began_at = number;
    let mut whole = rest.to_owned();
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (_, tail) = resumed
            .split_once(" resumed>")
            .context("not a resumed call")?;
        let at = unfinished
            .iter()
            .position(|(of, ..)| *of == thread)
            .context("resumed a call that never began")?;
        let (_, time, place, begin) = unfinished.remove(at);
        (began, began_at) = (time, place);
        whole = format!("{begin}{tail}");
    }
    let open = whole.find('(').context("no arguments")?;
    let equals = whole.rfind(" = ").context("no result")?;
    let close = whole[..equals]
        .rfind(')')
        .context("no closing parenthesis")?;
    ensure!(open < close, "parentheses the wrong way round");
    let result = whole[equals + 3..]
        .split(['<', ' '])
        .next()
        .unwrap_or_default();
    if result == "?" {
        return Ok(None);
    }
    let result: i64 = result
        .parse()
        .with_context(|| format!("bad result {result:?}"))?;
    let (name, arguments) = (whole[..open].to_owned(), whole[open + 1..close].to_owned());
    Ok(Some(SystemCall {
        thread,
        began,
        began_at,
        finished_at: number,
        name,
        arguments,
        result,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::run;

    #[test]
    fn a_sync_before_a_rename_is_seen_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "import os, sys\nos.chdir(sys.argv[1])\nf = open('new', 'wb'); f.write(b'x'); f.flush()\n\
                      os.fsync(f.fileno()); os.rename('new', 'final')\nd = os.open('.', os.O_RDONLY); os.fsync(d)";
        let mut strace = command(Path::new("python3"), &log, 32);
        run(strace.args(["-c", script]).arg(folder.path()))
            .expect("strace is needed (Debian: apt-get install strace)");
        // -D leaves strace alive a moment longer than the program.
        let mut calls = Vec::new();
        for _ in 0..100 {
            calls = parse(&std::fs::read_to_string(&log).unwrap()).unwrap();
            if calls.iter().filter(|call| call.is_sync()).count() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let at = |wanted: &dyn Fn(&SystemCall) -> bool| calls.iter().position(wanted).unwrap();
        let file =
            at(&|call| call.is_sync() && call.target().is_some_and(|path| path.ends_with("/new")));
        let rename =
            at(&|call| call.name.starts_with("rename") && call.arguments.contains("final"));
        let root = folder.path().canonicalize().unwrap();
        let directory = at(&|call| call.is_sync() && call.target() == root.to_str());
        assert!(file < rename && rename < directory);
    }

    #[test]
    fn calls_cut_in_two_are_joined_and_sockets_keep_their_names() {
        let log = "12 1.5 fsync(7</d/a> <unfinished ...>\n\
                   13 1.6 write(9<TCP:[127.0.0.1:80->127.0.0.1:99]>, \"HTTP/1.1 200 OK\", 15) = 15\n\
                   12 1.7 <... fsync resumed>) = 0\n\
                   12 1.8 --- SIGTERM {si_signo=SIGTERM} ---\n\
                   13 1.9 fsync(8</d/b>) = -1 EIO (Input/output error)\n\
                   14 2.0 openat(AT_FDCWD</d>, \"x\", O_RDO";
        let calls = parse(log).unwrap();
        assert_eq!(calls.len(), 3);
        assert_eq!(calls[0].target(), Some("TCP:[127.0.0.1:80->127.0.0.1:99]"));
        assert_eq!((calls[1].began_at, calls[1].finished_at), (0, 2));
        assert!(calls[1].is_sync() && calls[1].began == 1.5 && calls[1].target() == Some("/d/a"));
        assert!(!calls[2].is_sync());
    }
}
