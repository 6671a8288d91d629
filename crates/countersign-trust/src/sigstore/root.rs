//! Trust roots: which authorities, logs and timestamp authorities a signature may lean on.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::TrustedRoot;

use super::{Limits, Refusal, Step};
use crate::digest::Sha256;

/// The public-good instance, as of 2026-11.
const PUBLIC_GOOD: &[u8] = include_bytes!("roots/public_good.json");
/// GitHub's instance for private repositories, as of 2026-11.
const GITHUB: &[u8] = include_bytes!("roots/github.json");

/// The trust root that was leant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootUsed {
    /// Its name.
    pub name: String,
    /// SHA-256 of its JSON, in lower-case hex.
    pub digest: String,
}

/// One instance of Sigstore, made ready once.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) digest: Sha256,
    pub(super) root: TrustedRoot,
    pub(super) verifier: Verifier,
    /// One for each log of several, in the root's order, that knows no other log.
    of_logs: Vec<Verifier>,
}

/// One instance of Sigstore, or several. Cheap to clone; keep one for as long as it is valid, since making it parses
/// all its keys.
#[derive(Clone)]
pub struct TrustRoot(Vec<Arc<Instance>>);

impl std::fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.used()).finish()
    }
}

impl PartialEq for TrustRoot {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl TrustRoot {
    /// The public-good instance, from the copy inside the program.
    pub fn public_good() -> Self {
        static ROOT: OnceLock<TrustRoot> = OnceLock::new();
        ROOT.get_or_init(|| Self::pinned("public-good", PUBLIC_GOOD))
            .clone()
    }

    /// GitHub's instance for private repositories, from the copy inside the program. It has no logs: its timestamps
    /// are what is believed.
    pub fn github() -> Self {
        static ROOT: OnceLock<TrustRoot> = OnceLock::new();
        ROOT.get_or_init(|| Self::pinned("github", GITHUB)).clone()
    }

    /// The documents that are inside the program, by name: `public-good` and `github`.
    pub fn pinned_documents() -> [(&'static str, &'static [u8]); 2] {
        [("public-good", PUBLIC_GOOD), ("github", GITHUB)]
    }

    /// A copy inside the program. One that were malformed would be a fault of the build, which a test finds; it
    /// then trusts nobody.
    fn pinned(name: &str, json: &[u8]) -> Self {
        Self::from_json(name, json).unwrap_or(Self(Vec::new()))
    }

    /// Any instance, from its `trusted_root.json`, under a name of the caller's choice.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`]: too long, no JSON of that form, a name twice, keys or certificates that can not be read,
    /// windows that end before they begin, logs with one id, nobody to trust.
    pub fn from_json(name: &str, json: &[u8]) -> Result<Self, Refusal> {
        let refuse = |why: String| {
            Refusal::new(
                Step::Parse,
                format!("the trust root {name} is not usable: {why}"),
            )
        };
        super::bundle::within("trust root", json, Limits::default().document_bytes)?;
        let document = crate::oidc::strict_object_within(json, 12, 16 * 1024).map_err(&refuse)?;
        let media_type = document
            .get("mediaType")
            .and_then(|value| value.as_str())
            .unwrap_or_default();
        if !matches!(
            media_type,
            "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
                | "application/vnd.dev.sigstore.trustedroot.v0.1+json"
                | "application/vnd.dev.sigstore.trustedroot+json;version=0.2"
                | "application/vnd.dev.sigstore.trustedroot.v0.2+json"
        ) {
            return Err(refuse("it has no known media type".to_owned())
                .expected("application/vnd.dev.sigstore.trustedroot+json;version=0.1")
                .seen(media_type));
        }
        let text = std::str::from_utf8(json).map_err(|error| refuse(error.to_string()))?;
        let root = TrustedRoot::from_json(text).map_err(|error| refuse(error.to_string()))?;
        if root.certificate_authorities.is_empty() && root.tlogs.is_empty() {
            return Err(refuse(
                "it names neither a certificate authority nor a log".to_owned(),
            ));
        }
        let ready =
            |root: &TrustedRoot| Verifier::new(root).map_err(|error| refuse(error.to_string()));
        let verifier = ready(&root)?;
        let mut of_logs = Vec::new();
        if root.tlogs.len() > 1 {
            for log in &root.tlogs {
                let mut alone = root.clone();
                alone.tlogs = vec![log.clone()];
                of_logs.push(ready(&alone)?);
            }
        }
        Ok(Self(vec![Arc::new(Instance {
            name: name.to_owned(),
            digest: Sha256::of(json),
            root,
            verifier,
            of_logs,
        })]))
    }

    /// All instances of all of them; one that stands twice counts once.
    pub fn merge(roots: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Arc<Instance>> = Vec::new();
        for instance in roots.into_iter().flat_map(|root| root.0) {
            if !all.iter().any(|known| known.digest == instance.digest) {
                all.push(instance);
            }
        }
        Self(all)
    }

    /// SHA-256 of the JSON of a single instance; of several, SHA-256 of their digests in order.
    pub fn digest(&self) -> Sha256 {
        match self.0.as_slice() {
            [one] => one.digest,
            all => {
                let parts: Vec<&[u8]> = all.iter().map(|one| &one.digest.0[..]).collect();
                Sha256::of_parts(&parts)
            }
        }
    }

    /// The instances by name and digest.
    pub fn used(&self) -> Vec<RootUsed> {
        self.0.iter().map(|instance| instance.used()).collect()
    }

    pub(super) fn instances(&self) -> &[Arc<Instance>] {
        &self.0
    }
}

impl Instance {
    /// The verifier for entries of these logs (places in the root): for one log the one that knows no other, since any
    /// log that a verifier knows may sign a checkpoint for any other.
    pub(super) fn verifier_of(&self, mut logs: impl Iterator<Item = usize>) -> &Verifier {
        let Some(first) = logs.next() else {
            return &self.verifier;
        };
        match self.of_logs.get(first) {
            Some(alone) if logs.all(|log| log == first) => alone,
            _ => &self.verifier,
        }
    }

    pub(super) fn used(&self) -> RootUsed {
        RootUsed {
            name: self.name.clone(),
            digest: self.digest.to_hex(),
        }
    }
}
