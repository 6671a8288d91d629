//! `countersignd scan-worker`: looks at one file and says what it found, in a process that can do nothing else.
//!
//! `--prepare` reads rules and says whether they can be used; standard output is what rules of YARA were compiled to. Without it
//! standard input is the request as one line of JSON, then what was prepared, then the file's bytes; standard output is the outcome
//! as JSON. Before a byte of either is read the process takes from itself the file system and the network (Landlock), every
//! system call but those that reading, writing and memory need (seccomp), all ways to make memory executable, and memory
//! and time beyond bounds (rlimits). Where one of these can not be had it refuses to run. Nothing is ever extracted to a disk.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use countersign_registry::scan::{Rules, ScanRequest, Unscanned, scan};

use crate::cli::ScanWorker;

#[cfg_attr(not(feature = "yara"), path = "scan_worker/no_yara.rs")]
mod yara;

/// Does this build take YARA rules?
pub const YARA: bool = yara::BUILT;

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 4 << 20;
/// The largest file, in bytes.
const LARGEST: u64 = 256 << 20;
/// The largest file of rules, in bytes; one of YARA's may have more, since such files come from generators.
const LARGEST_RULES: u64 = 1 << 20;
const LARGEST_YARA: u64 = 16 << 20;
/// What was prepared has so many bytes at most.
pub const LARGEST_PREPARED: u64 = 64 << 20;

/// It could not be fenced in: nothing was read.
pub const UNFENCED: u8 = 10;
/// The rules can not be used.
pub const BAD_RULES: u8 = 11;
/// The request can not be read.
pub const BAD_REQUEST: u8 = 12;
/// The archive is none that the registry's reader takes.
pub const BAD_ARCHIVE: u8 = 13;
/// Rules took too long for a member: nothing is said of the archive.
pub const TOO_LONG: u8 = 14;

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

/// Is it a file of YARA rules?
pub fn is_yara(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending == "yar" || ending == "yara")
}

/// A file of rules, whole.
fn text_of(path: &Path) -> Result<String, (u8, String)> {
    let bad = |why: String| (BAD_RULES, format!("{}: {why}", path.display()));
    let most = if is_yara(path) {
        LARGEST_YARA
    } else {
        LARGEST_RULES
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .map_err(|error| bad(error.to_string()))?
        .take(most + 1)
        .read_to_string(&mut text)
        .map_err(|error| bad(error.to_string()))?;
    if text.len() as u64 > most {
        return Err(bad(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// The rules that come along and those of these files; where they can not be used it is told which file is to blame.
fn parsed(files: &[(&Path, String)]) -> Result<Rules, (u8, String)> {
    let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
    Rules::parse(&texts).map_err(|error| {
        let alone = files.iter().find_map(|(path, text)| {
            let error = Rules::parse(&[text.as_str()]).err()?;
            let why = match error.rule.is_empty() {
                true => error.why,
                false => error.to_string(),
            };
            Some(format!("{}: {why}", path.display()))
        });
        // Two files may be good each by itself.
        (BAD_RULES, alone.unwrap_or_else(|| error.to_string()))
    })
}

fn work(options: &ScanWorker) -> Result<(), (u8, String)> {
    let (mut texts, mut yara) = (Vec::new(), Vec::new());
    for path in &options.rules {
        let text = text_of(path)?;
        if is_yara(path) {
            yara.push((path.display().to_string(), text));
        } else {
            texts.push((path.as_path(), text));
        }
    }
    fence::raise().map_err(|why| (UNFENCED, why))?;
    let rules = parsed(&texts)?;
    let bad = |why: String| (BAD_REQUEST, why);
    if options.prepare {
        let prepared = yara::compile(&yara).map_err(|why| (BAD_RULES, why))?;
        return std::io::stdout()
            .lock()
            .write_all(&prepared)
            .map_err(|error| bad(error.to_string()));
    }

    let mut input = BufReader::new(std::io::stdin().lock());
    let mut line = String::new();
    (&mut input)
        .take(LONGEST_REQUEST)
        .read_line(&mut line)
        .map_err(|error| bad(error.to_string()))?;
    let request: ScanRequest =
        serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
    if request.size > LARGEST || options.prepared > LARGEST_PREPARED {
        return Err(bad(format!("the file has more than {LARGEST} bytes")));
    }
    let mut part = |size: u64| {
        let mut bytes = Vec::new();
        (&mut input)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| bad(error.to_string()))?;
        if bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(bad(format!("{} of {size} bytes came", bytes.len())))
        }
    };
    let prepared = match options.prepared {
        // Rules that come along with YARA are wanted even where nobody prepared any.
        0 => yara::compile(&yara).map_err(|why| (BAD_RULES, why))?,
        size => part(size)?,
    };
    let bytes = part(request.size)?;
    let prepared = yara::Rules::load(&prepared).map_err(|why| (BAD_RULES, why))?;
    let mut matcher = prepared.matcher();
    let outcome = scan(
        &rules,
        Some(&mut matcher),
        &request,
        &mut Cursor::new(bytes),
    )
    .map_err(|unscanned| match unscanned {
        Unscanned::Archive(refused) => (BAD_ARCHIVE, refused.message),
        Unscanned::Matcher(why) => (TOO_LONG, why),
    })?;
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
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

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
        if super::YARA {
            old_threads().map_err(|error| format!("seccomp can not be had: {error}"))?;
        }
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

    /// Where this bit is not in the third argument.
    fn without(bit: i32) -> Result<SeccompRule, seccompiler::BackendError> {
        let mask = u64::from(bit.unsigned_abs());
        let operator = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, operator, 0)?;
        SeccompRule::new(vec![condition])
    }

    /// `clone3` hides what it asks for behind a pointer, so it is not there; the C library then takes `clone`.
    fn old_threads() -> Result<(), String> {
        install(
            BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        )
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
            libc::SYS_munmap,
            libc::SYS_mremap,
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
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            allowed.into_iter().map(|call| (call, Vec::new())).collect();
        let told = |error: seccompiler::BackendError| error.to_string();
        // Memory is for data.
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            rules.insert(call, vec![without(libc::PROT_EXEC).map_err(told)?]);
        }
        if super::YARA {
            // One thread of this very process counts the seconds that a rule takes; it is born in the fence, and inherits it.
            let thread = u64::from((libc::CLONE_THREAD | libc::CLONE_VM).unsigned_abs());
            let operator = SeccompCmpOp::MaskedEq(thread);
            let thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, operator, thread)
                .and_then(|condition| SeccompRule::new(vec![condition]))
                .map_err(told)?;
            rules.insert(libc::SYS_clone, vec![thread]);
            let more = [
                // Answered by the other filter.
                libc::SYS_clone3,
                libc::SYS_set_robust_list,
                libc::SYS_rseq,
                libc::SYS_sched_getaffinity,
                libc::SYS_clock_nanosleep,
            ];
            rules.extend(more.into_iter().map(|call| (call, Vec::new())));
        }
        install(
            rules,
            // Refused, not killed: the allocator names its memory with a call (prctl) that it can do without.
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            SeccompAction::Allow,
        )
    }

    /// Installs a filter: what a call that is listed gets, and what another one gets.
    fn install(
        rules: BTreeMap<i64, Vec<SeccompRule>>,
        others: SeccompAction,
        listed: SeccompAction,
    ) -> Result<(), String> {
        let architecture = std::env::consts::ARCH
            .try_into()
            .map_err(|error| format!("{error}"))?;
        let filter = SeccompFilter::new(rules, others, listed, architecture)
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
