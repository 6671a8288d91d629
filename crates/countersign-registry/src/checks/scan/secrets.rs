//! Secrets of other services that were packed by mistake: the owners are told, nobody is stopped.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

use super::{Hit, Weights};

/// So many are told of one file.
const MOST: usize = 5;

struct Kind {
    rule: &'static str,
    title: &'static str,
    /// What stands in the text before anything else is tried.
    anchor: &'static [u8],
    shape: &'static str,
}

const KINDS: [Kind; 13] = [
    Kind {
        rule: "secret-aws",
        title: "An access key of AWS with its secret",
        anchor: b"AKIA",
        shape: r"\bAKIA[A-Z2-7]{16}\b",
    },
    Kind {
        rule: "secret-github",
        title: "A token of GitHub",
        anchor: b"ghp_",
        shape: r"\bghp_[A-Za-z0-9]{36}\b",
    },
    Kind {
        rule: "secret-github",
        title: "A token of GitHub",
        anchor: b"gho_",
        shape: r"\bgho_[A-Za-z0-9]{36}\b",
    },
    Kind {
        rule: "secret-github",
        title: "A token of GitHub",
        anchor: b"ghs_",
        shape: r"\bghs_[A-Za-z0-9]{36}\b",
    },
    Kind {
        rule: "secret-github",
        title: "A token of GitHub",
        anchor: b"github_pat_",
        shape: r"\bgithub_pat_[A-Za-z0-9_]{82}\b",
    },
    Kind {
        rule: "secret-gitlab",
        title: "A token of GitLab",
        anchor: b"glpat-",
        shape: r"\bglpat-[A-Za-z0-9_-]{20}\b",
    },
    Kind {
        rule: "secret-npm",
        title: "A token of npm",
        anchor: b"npm_",
        shape: r"\bnpm_[A-Za-z0-9]{36}\b",
    },
    Kind {
        rule: "secret-pypi",
        title: "A token of a Python registry",
        anchor: b"pypi-AgE",
        shape: r"\bpypi-AgE[A-Za-z0-9_-]{60,}",
    },
    Kind {
        rule: "secret-cargo",
        title: "A token of a Cargo registry",
        anchor: b"cio",
        shape: r"\bcio[A-Za-z0-9]{32}\b",
    },
    Kind {
        rule: "secret-slack",
        title: "A token of Slack",
        anchor: b"xox",
        shape: r"\bxox[bporas]-[0-9]{8,}-[0-9A-Za-z-]{20,}",
    },
    Kind {
        rule: "secret-stripe",
        title: "A live key of Stripe",
        anchor: b"_live_",
        shape: r"\b[rs]k_live_[A-Za-z0-9]{24,}",
    },
    Kind {
        rule: "secret-own",
        title: "A token of this kind of registry",
        anchor: b"csgn_",
        shape: r"\bcsgn_[uws]_[0-9A-Za-z]{40,60}\b",
    },
    Kind {
        rule: "secret-key",
        title: "A private key",
        anchor: b"PRIVATE KEY-----",
        shape: r"-----BEGIN (?:RSA |EC |OPENSSH |DSA )?PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64,}",
    },
];

static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    KINDS
        .iter()
        .map(|kind| {
            RegexBuilder::new(kind.shape)
                .unicode(false)
                .build()
                .expect("the shapes are written here")
        })
        .collect()
});

static ANCHORS: LazyLock<aho_corasick::AhoCorasick> = LazyLock::new(|| {
    aho_corasick::AhoCorasick::new(KINDS.iter().map(|kind| kind.anchor))
        .expect("the anchors are written here")
});

/// Examples and tests have keys that are none.
fn is_example(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [
        "test", "example", "fixture", "mock", "doc", "sample", "spec",
    ]
    .iter()
    .any(|word| lower.contains(word))
}

/// Adds what stands in a file.
pub(super) fn find(path: &str, bytes: &[u8], hits: &mut Vec<Hit>) {
    if is_example(path) {
        return;
    }
    let mut tried = [false; KINDS.len()];
    for anchor in ANCHORS.find_iter(bytes) {
        let kind = anchor.pattern().as_usize();
        if std::mem::replace(&mut tried[kind], true) {
            if tried.iter().all(|tried| *tried) {
                return;
            }
            continue;
        }
        for found in SHAPES[kind].find_iter(bytes).take(MOST) {
            let text = found.as_bytes();
            // What repeats one character stands for a secret, and is none.
            let mut distinct = [false; 256];
            text.iter()
                .for_each(|byte| distinct[usize::from(*byte)] = true);
            if distinct.iter().filter(|seen| **seen).count() < 12
                || text.windows(7).any(|part| part == b"EXAMPLE")
            {
                continue;
            }
            let shown: String = String::from_utf8_lossy(&text[..text.len().min(8)]).into_owned();
            hits.push(Hit {
                rule: KINDS[kind].rule.to_owned(),
                title: KINDS[kind].title.to_owned(),
                // Secrets weigh alike wherever they stand.
                weights: Weights::alike(35),
                offset: found.start(),
                shown: Some(format!(
                    "{}…, {} characters",
                    super::shortened(&shown),
                    text.len()
                )),
            });
        }
    }
}
