//! The TUF client against a repository that answers with anything: it ends, and what it trusts after a refusal is what it
//! trusted before. The first byte of each answer says how the honest file is changed; the root is honest.
#![no_main]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use countersign_trust::sigstore::Ed25519Signer;
use countersign_trust::tuf::ceremony::{Pending, RootPlan};
use countersign_trust::tuf::client::{Client, Look, Request, Trusted};
use countersign_trust::tuf::repository::{Lifetimes, OnlineKeys, Repository, delegations};
use countersign_trust::tuf::{Extra, Key, Limits, TargetFile, Targets};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_795_219_200;
const PATH: &str = "pypi/attrs";

fn repository() -> BTreeMap<String, Vec<u8>> {
    let signer = |seed| Ed25519Signer::new(&[seed; 32]).expect("any seed is a key");
    let (root, targets, online) = (signer(1), signer(2), signer(3));
    let key = |signer: &Ed25519Signer| vec![Key::of(signer).expect("Ed25519 is known")];
    let plan = RootPlan {
        expires: NOW + 1_000_000,
        roles: [
            ("root", &root),
            ("targets", &targets),
            ("timestamp", &online),
            ("snapshot", &online),
        ]
        .map(|(role, signer)| (role.to_owned(), (key(signer), 1)))
        .into(),
        development: true,
    };
    let build = || {
        let mut pending = Pending::root(plan.root(None)?, None)?;
        pending.sign(&root)?;
        let bytes = pending.finish(NOW)?;
        let repository = Repository::new(&bytes)?;
        let top = Targets {
            delegations: Some(delegations(Vec::new(), &online)?),
            ..Targets::empty(1, NOW + 1_000_000)
        };
        let mut pending = Pending::targets("targets", top, "root", repository.root())?;
        pending.sign(&targets)?;
        let keys = OnlineKeys {
            timestamp: &online,
            snapshot: &online,
            index: &online,
            bins: &online,
        };
        let lifetimes = Lifetimes::default();
        let mut draft = repository.draft(NOW, &lifetimes, keys);
        draft.targets(&pending.finish(NOW)?)?;
        draft.divide(1)?;
        for bin in ["bins-0", "bins-1"] {
            let own = repository_bin(bin);
            draft.bin(bin, own)?;
        }
        draft.finish(Extra::default())
    };
    let commit = build().expect("the fixed repository is well made");
    commit
        .writes
        .into_iter()
        .map(|write| (write.file, write.bytes))
        .chain([("1.root.json".to_owned(), {
            let mut pending = Pending::root(plan.root(None).expect("the plan is good"), None)
                .expect("it is the first");
            pending.sign(&root).expect("the key is asked");
            pending.to_bytes()
        })])
        .collect()
}

fn repository_bin(bin: &str) -> BTreeMap<String, TargetFile> {
    let first = countersign_trust::digest::Sha256::of(PATH.as_bytes()).0[0] >> 7;
    if bin == format!("bins-{first}") {
        BTreeMap::from([(PATH.to_owned(), TargetFile::of(b"attrs"))])
    } else {
        BTreeMap::new()
    }
}

/// The next answer, made of the honest one and the input.
fn answer(
    request: &Request,
    files: &BTreeMap<String, Vec<u8>>,
    data: &mut &[u8],
) -> Option<Vec<u8>> {
    let honest = files.get(&request.file).cloned();
    let Some((how, rest)) = data.split_first() else {
        return honest;
    };
    *data = rest;
    match how % 5 {
        0 => None,
        1 => {
            let (mut bytes, at) = (honest?, usize::from(*how) * 7);
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= 1 << (how % 8);
            }
            Some(bytes)
        }
        2 => {
            let bytes = rest.to_vec();
            *data = &[];
            Some(bytes)
        }
        _ => honest,
    }
}

fuzz_target!(|data: &[u8]| {
    static FILES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let files = FILES.get_or_init(repository);
    let mut data = data;
    let trusted = Trusted::root(files["1.root.json"].clone());
    let mut client = Client::begin(trusted, NOW, Limits::default()).expect("the root is honest");
    for _ in 0..400 {
        let request = match client.wanted() {
            Ok(Some(request)) => request,
            Ok(None) => match client.look(PATH) {
                Ok(Look::Fetch(request)) => request,
                Ok(Look::Found { target, .. }) => {
                    assert_eq!(target, TargetFile::of(b"attrs"));
                    return;
                }
                Ok(Look::Absent) => panic!("a signed target was hidden"),
                Err(_) => return,
            },
            Err(_) => return,
        };
        let before = client.trusted().clone();
        let answer = answer(&request, files, &mut data);
        if client.give(&request, answer.as_deref()).is_err() {
            assert_eq!(client.trusted(), &before);
        }
        if data.is_empty() && request.role != "root" && !files.contains_key(&request.file) {
            return;
        }
    }
});
