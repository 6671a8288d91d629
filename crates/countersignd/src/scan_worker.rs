//! `countersignd scan-worker`: looks at one file and says what it found, in a process that can do nothing else.
//!
//! Standard input: the request as one line of JSON, then the bytes. Standard output: the outcome as JSON. Before a byte of the
//! file is read the process takes from itself the file system and the network (Landlock), every system call but those that
//! reading, writing and memory need (seccomp), and memory and time beyond bounds (rlimits). Where one of these can not be had
//! it refuses to run. Nothing is ever extracted to a disk.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::process::ExitCode;

use countersign_registry::scan::{Rules, ScanRequest, scan};

use crate::cli::ScanWorker;

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 4 << 20;
/// The largest file, in bytes.
const LARGEST: u64 = 256 << 20;
/// The largest file of rules, in bytes.
const LARGEST_RULES: u64 = 1 << 20;

/// It could not be fenced in: nothing was read.
pub const UNFENCED: u8 = 10;
/// The rules can not be used.
pub const BAD_RULES: u8 = 11;
/// The request can not be read.
pub const BAD_REQUEST: u8 = 12;
/// The archive is none that the registry's reader takes.
pub const BAD_ARCHIVE: u8 = 13;

/// Runs the worker.
pub fn run(options: &ScanWorker) -> ExitCode {
    match work(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            // Standard error is a pipe to the server.
            drop(writeln!(std::io::stderr(), "{why}"));
            ExitCode::from(code)
        }
    }
}

fn work(options: &ScanWorker) -> Result<(), (u8, String)> {
    let mut texts = Vec::new();
    for path in &options.rules {
        let unreadable =
            |error: std::io::Error| (BAD_RULES, format!("{}: {error}", path.display()));
        let mut text = String::new();
        std::fs::File::open(path)
            .map_err(unreadable)?
            .take(LARGEST_RULES + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        texts.push(text);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rules = Rules::parse(&texts).map_err(|error| (BAD_RULES, error.to_string()))?;
    fence::raise().map_err(|why| (UNFENCED, why))?;

    let mut input = BufReader::new(std::io::stdin().lock());
    let bad = |why: String| (BAD_REQUEST, why);
    let mut line = String::new();
    (&mut input)
        .take(LONGEST_REQUEST)
        .read_line(&mut line)
        .map_err(|error| bad(error.to_string()))?;
    let request: ScanRequest =
        serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
    if request.size > LARGEST {
        return Err(bad(format!("the file has more than {LARGEST} bytes")));
    }
    let mut bytes = Vec::new();
    input
        .take(request.size)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 != request.size {
        return Err(bad(format!(
            "{} of {} bytes came",
            bytes.len(),
            request.size
        )));
    }
    let outcome = scan(&rules, &request, &mut Cursor::new(bytes))
        .map_err(|refused| (BAD_ARCHIVE, refused.message))?;
    let text = serde_json::to_vec(&outcome).map_err(|error| bad(error.to_string()))?;
    std::io::stdout()
        .lock()
        .write_all(&text)
        .map_err(|error| bad(error.to_string()))
}

#[cfg(target_os = "linux")]
mod fence {
    use std::collections::BTreeMap;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
        RulesetStatus,
    };
    use rlimit::Resource;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    /// Bytes of address space.
    const MEMORY: u64 = 2 << 30;
    /// Seconds of a processor.
    const SECONDS: u64 = 120;

    /// Fences this process in, for good.
    pub(super) fn raise() -> Result<(), String> {
        let limited = [
            (Resource::AS, MEMORY),
            (Resource::CPU, SECONDS),
            (Resource::FSIZE, 0),
            (Resource::CORE, 0),
            (Resource::NOFILE, 16),
        ];
        for (resource, most) in limited {
            rlimit::setrlimit(resource, most, most)
                .map_err(|error| format!("a limit can not be set ({resource:?}): {error}"))?;
        }
        landlock().map_err(|error| format!("Landlock can not be had: {error}"))?;
        seccomp().map_err(|error| format!("seccomp can not be had: {error}"))
    }

    fn landlock() -> Result<(), String> {
        let told = |error: landlock::RulesetError| error.to_string();
        // The file system must be closed; newer kernels close more.
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .map_err(told)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))
            .map_err(told)?
            .handle_access(AccessNet::from_all(ABI::V5))
            .map_err(told)?
            .create()
            .map_err(told)?
            .restrict_self()
            .map_err(told)?;
        if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
            return Err("the kernel does not enforce it".to_owned());
        }
        Ok(())
    }

    fn seccomp() -> Result<(), String> {
        let allowed = [
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_close,
            libc::SYS_lseek,
            libc::SYS_fstat,
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_mprotect,
            libc::SYS_madvise,
            libc::SYS_brk,
            libc::SYS_futex,
            libc::SYS_sched_yield,
            libc::SYS_getcpu,
            libc::SYS_getrandom,
            libc::SYS_clock_gettime,
            libc::SYS_gettid,
            libc::SYS_getpid,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_restart_syscall,
            libc::SYS_exit,
            libc::SYS_exit_group,
        ];
        let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
            allowed.into_iter().map(|call| (call, Vec::new())).collect();
        let architecture = std::env::consts::ARCH
            .try_into()
            .map_err(|error| format!("{error}"))?;
        let filter = SeccompFilter::new(
            rules,
            // Refused, not killed: the allocator names its memory with a call (prctl) that it can do without.
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            SeccompAction::Allow,
            architecture,
        )
        .map_err(|error| error.to_string())?;
        let program: BpfProgram = filter.try_into().map_err(|error| format!("{error}"))?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())
    }
}

#[cfg(not(target_os = "linux"))]
mod fence {
    /// There is nothing to fence it in with.
    pub(super) fn raise() -> Result<(), String> {
        Err("the scanner needs Linux, with Landlock and seccomp".to_owned())
    }
}
