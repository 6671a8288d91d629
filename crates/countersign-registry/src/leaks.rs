//! Leaked tokens: whoever holds one may have it revoked, and secret scanners report them in GitHub's partner protocol.
//!
//! A scanner's report is a JSON list; its signature (ECDSA P-256 over the raw body) is checked before a byte of it is
//! parsed, by a key that the partner publishes as current. Possession of a token is proof enough to end it, so a report
//! without a signature does the same. Each token ends in a transaction of its own: one bad entry stops no other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::LeafKind;
use countersign_trust::token::{Token, TokenKind};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{AccountId, Actor, CallerOrigin, CredentialId, Identity, Time};
use crate::seams::OutsideRequest;
use crate::settings::ScanPartner;
use crate::texts::NoticeKind;

/// The largest report.
const MOST: usize = 1 << 20;

/// Tokens of one report that are looked at.
const ENTRIES: usize = 1_000;

/// Reports without a signature that one network may send in ten minutes.
const REPORTS: i64 = 60;

/// Keys of a partner are kept this long, in seconds.
const KEEP_KEYS: i64 = 86_400;

/// For an unknown key the partner is asked again at most this often, in seconds.
const COOL_DOWN: i64 = 60;

/// The keys of partners, as last fetched.
#[derive(Default)]
pub(crate) struct Keyring {
    partners: tokio::sync::Mutex<HashMap<String, Fetched>>,
}

struct Fetched {
    keys: Vec<PublishedKey>,
    good: Option<Time>,
    tried: Time,
}

/// A key as a partner publishes it.
#[derive(Clone, Deserialize)]
struct PublishedKey {
    key_identifier: String,
    key: String,
    #[serde(default)]
    is_current: bool,
}

#[derive(Deserialize)]
struct PublishedKeys {
    public_keys: Vec<PublishedKey>,
}

/// What became of one reported token. Holds its hash and not itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeakAnswer {
    /// SHA-256 of what was reported, hex.
    pub token_hash: String,
    /// The type, as the reporter calls it.
    pub token_type: String,
    /// `true_positive`: it is, or was, a token of this registry, and is good no longer. `false_positive`: it never was.
    pub label: &'static str,
}

/// Who found a token, and where.
struct Report<'a> {
    reporter: &'a str,
    source: &'a str,
    url: &'a str,
}

impl Registry {
    /// Takes the report of a secret scanner: headers by their lower-case names, and the body as it came.
    ///
    /// # Errors
    /// `scan-headers` (not found) where no known partner's headers are there; `scan-key`, `scan-signature`,
    /// `scan-body`; `scan-too-large`; `scan-keys-unreachable` (unavailable: the partner tries again).
    pub async fn disclose(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Send + Sync),
        body: &[u8],
    ) -> Result<Vec<LeakAnswer>> {
        if body.len() > MOST {
            return Err(Error::new(
                Kind::TooLarge,
                "scan-too-large",
                format!("A report may have {MOST} bytes."),
            )
            .remedy("Send it in parts."));
        }
        let found = self
            .inner
            .settings
            .scan_partners
            .iter()
            .find_map(|partner| {
                Some((
                    partner,
                    header(&partner.key_header)?,
                    header(&partner.signature_header)?,
                ))
            });
        let Some((partner, key_id, signature)) = found else {
            return Err(Error::new(
                Kind::NotFound,
                "scan-headers",
                "This address is for secret scanners that sign their reports.",
            )
            .remedy("Anybody else may paste a leaked token on the page /leaked."));
        };
        let key = self.scanner_key(partner, &key_id).await?;
        verify(&key, &signature, body)?;
        let entries: Vec<Value> = serde_json::from_slice(body).map_err(|source| {
            Error::new(
                Kind::Rejected,
                "scan-body",
                "The signed report is no JSON list.",
            )
            .remedy("Send a list of objects with token, type, url and source.")
            .because(source)
        })?;
        let mut answers = Vec::new();
        for entry in entries.iter().take(ENTRIES) {
            let word = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let text = word("token");
            if text.is_empty() {
                continue;
            }
            let report = Report {
                reporter: &partner.name,
                source: word("source"),
                url: word("url"),
            };
            let ours = self.end_all_in(text, &report).await?;
            answers.push(LeakAnswer {
                token_hash: Sha256::of(text.as_bytes()).to_string(),
                token_type: word("type").chars().take(100).collect(),
                label: label(ours),
            });
        }
        Ok(answers)
    }

    /// Ends every token of this registry that stands in a text: to hold one is to be allowed to end it. Where it was
    /// found is told to its holder.
    ///
    /// # Errors
    /// `scan-too-large`, `too-many-attempts`.
    pub async fn report_leak(
        &self,
        text: &str,
        url: &str,
        origin: &CallerOrigin,
    ) -> Result<Vec<LeakAnswer>> {
        self.count_asked("leak report", REPORTS, origin).await?;
        if text.len() > MOST {
            return Err(Error::new(
                Kind::TooLarge,
                "scan-too-large",
                format!("A report may have {MOST} bytes."),
            )
            .remedy("Paste the tokens alone."));
        }
        // Anybody can write an address here, and what we mail is read as our word: of theirs only the host is shown.
        let host = url::Url::parse(url).ok();
        let report = Report {
            reporter: "somebody who found it",
            source: "report",
            url: host
                .as_ref()
                .and_then(url::Url::host_str)
                .unwrap_or_default(),
        };
        let tokens = tokens_in(text);
        let held = self.held(&tokens).await?;
        let mut answers = Vec::new();
        for token in tokens {
            let ours = held.contains(&token.hash()) && self.end_leaked(&token, &report).await?;
            answers.push(LeakAnswer {
                token_hash: token.hash().to_string(),
                token_type: kind_word(token.kind()).to_owned(),
                label: label(ours),
            });
        }
        Ok(answers)
    }

    async fn end_all_in(&self, text: &str, report: &Report<'_>) -> Result<bool> {
        let tokens = tokens_in(text);
        let held = self.held(&tokens).await?;
        let mut ours = false;
        for token in tokens.iter().filter(|token| held.contains(&token.hash())) {
            ours |= self.end_leaked(token, report).await?;
        }
        Ok(ours)
    }

    /// Which of these are anything here, by one question: made-up tokens cost no more.
    async fn held(&self, tokens: &[Token]) -> Result<HashSet<Sha256>> {
        let hashes: Vec<Sha256> = tokens.iter().map(Token::hash).collect();
        self.inner.store.held_secrets(&hashes).await
    }

    /// Ends one token, once; true where it is or was one of ours.
    async fn end_leaked(&self, token: &Token, report: &Report<'_>) -> Result<bool> {
        let store = &self.inner.store;
        if let Some(row) = store.workflow_token_by_hash(token.hash()).await? {
            self.end_workflow_token(&row.id, &row.hint, &row.workflow, report)
                .await?;
            return Ok(true);
        }
        if let Some(row) = store.credential_by_hash(token.hash()).await? {
            let used = row.last_used.map_or("never".to_owned(), Time::rfc3339);
            let place = shown(report);
            let data = [
                ("label", row.label.as_str()),
                ("hint", &row.hint),
                ("where", &place),
                ("reporter", report.reporter),
                ("used", &used),
            ];
            self.end_token_of(&row.id, &row.account, &data, report)
                .await?;
            return Ok(true);
        }
        // The secret of a mailed link is nobody's token, but as good as one.
        let mut tx = store.write().await?;
        let link = tx.end_leaked_link(token.hash()).await?;
        tx.commit().await?;
        Ok(link)
    }

    async fn end_token_of(
        &self,
        id: &CredentialId,
        account: &AccountId,
        data: &[(&str, &str)],
        report: &Report<'_>,
    ) -> Result<()> {
        let (desk, now) = (desk(), self.now());
        let mut tx = self.inner.store.write().await?;
        if tx.revoke_credential(id, "leaked", now).await? {
            self.note_leak(&mut tx, id, report).await?;
            let change = Change::registry(&desk, LeafKind::TokenRevokedLeaked).affecting(account);
            self.record(&mut tx, change, json!({"credential": id}))
                .await?;
            self.notify(&mut tx, account, NoticeKind::TokenLeaked, data, None)
                .await?;
        }
        tx.commit().await?;
        self.inner.beat.wake();
        self.wake_office();
        Ok(())
    }

    async fn end_workflow_token(
        &self,
        id: &CredentialId,
        hint: &str,
        workflow: &crate::model::Workflow,
        report: &Report<'_>,
    ) -> Result<()> {
        let (desk, now) = (desk(), self.now());
        let mut tx = self.inner.store.write().await?;
        if tx.revoke_credential(id, "leaked", now).await? {
            self.note_leak(&mut tx, id, report).await?;
            let change = Change::registry(&desk, LeafKind::TokenRevokedLeaked);
            self.record(&mut tx, change, json!({"credential": id}))
                .await?;
            let ids: Vec<_> = workflow.publishers.iter().collect();
            for row in tx.locked_publishers(&ids).await? {
                let place = shown(report);
                let data = [
                    ("hint", hint),
                    ("workflow", workflow.label.as_str()),
                    ("projects", &row.project_name),
                    ("where", &place),
                    ("reporter", report.reporter),
                ];
                let kind = NoticeKind::WorkflowTokenLeaked;
                if let Some(project) = &row.project {
                    self.notify_owners(&mut tx, project, None, kind, &data)
                        .await?;
                } else if let Some(account) = &row.account {
                    self.notify(&mut tx, account, kind, &data, None).await?;
                }
            }
        }
        tx.commit().await?;
        self.inner.beat.wake();
        self.wake_office();
        Ok(())
    }

    async fn note_leak(
        &self,
        tx: &mut crate::store::Tx,
        id: &CredentialId,
        report: &Report<'_>,
    ) -> Result<()> {
        let cut = |text: &str| -> String { text.chars().take(2_000).collect() };
        tx.insert_leak_report(
            &new_id(),
            id,
            (report.reporter, &cut(report.source), &cut(report.url)),
            self.now(),
        )
        .await
    }

    /// The partner's key of that id, if it is a current one.
    async fn scanner_key(&self, partner: &ScanPartner, key_id: &str) -> Result<VerifyingKey> {
        let now = self.now();
        let mut partners = self.inner.keyring.partners.lock().await;
        let fetched = partners
            .entry(partner.name.clone())
            .or_insert_with(|| Fetched {
                keys: Vec::new(),
                good: None,
                tried: Time(i64::MIN),
            });
        let known = |keys: &[PublishedKey]| {
            keys.iter()
                .find(|key| key.key_identifier == key_id)
                .cloned()
        };
        let aged = fetched
            .good
            .is_none_or(|at| at.plus_seconds(KEEP_KEYS) <= now);
        let mut fault = None;
        if (aged || known(&fetched.keys).is_none()) && fetched.tried.plus_seconds(COOL_DOWN) <= now
        {
            fetched.tried = now;
            match self.fetch_scanner_keys(partner).await {
                Ok(keys) => {
                    fetched.keys = keys;
                    fetched.good = Some(now);
                }
                Err(error) => fault = Some(error),
            }
        }
        // Keys that may have been withdrawn since are not used.
        if fetched
            .good
            .is_none_or(|at| at.plus_seconds(KEEP_KEYS) <= now)
        {
            return Err(fault.unwrap_or_else(|| {
                Error::unavailable(
                    "scan-keys-unreachable",
                    format!(
                        "The keys of {} could not be fetched a moment ago.",
                        partner.name
                    ),
                )
            }));
        }
        let key = known(&fetched.keys).filter(|key| key.is_current);
        let Some(key) = key else {
            return Err(Error::new(
                Kind::Rejected,
                "scan-key",
                format!("{} publishes no current key of that id.", partner.name),
            )
            .remedy("Sign with a current key."));
        };
        VerifyingKey::from_public_key_pem(&key.key).map_err(|source| {
            Error::unavailable(
                "scan-keys-unreachable",
                format!("A key of {} can not be read.", partner.name),
            )
            .because(source.to_string())
        })
    }

    async fn fetch_scanner_keys(&self, partner: &ScanPartner) -> Result<Vec<PublishedKey>> {
        let unreachable = |why: String| {
            Error::unavailable(
                "scan-keys-unreachable",
                format!("The keys of {} can not be fetched: {why}.", partner.name),
            )
        };
        let answer = self
            .inner
            .seams
            .outside
            .get(OutsideRequest {
                url: &partner.keys_url,
                most: 256 << 10,
                timeout: Duration::from_secs(10),
                ca_pem: partner.ca_pem.as_deref(),
                accept: "application/json",
                headers: &[],
            })
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let keys: PublishedKeys = serde_json::from_slice(&answer.body)
            .map_err(|error| unreachable(format!("they are no key list ({error})")))?;
        Ok(keys.public_keys)
    }
}

/// Who acts when a token is ended because it leaked.
fn desk() -> Actor {
    Actor {
        identity: Identity::System { name: "leak-desk" },
        ..Actor::anonymous()
    }
}

fn label(ours: bool) -> &'static str {
    if ours {
        "true_positive"
    } else {
        "false_positive"
    }
}

fn kind_word(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::User => "csgn_u",
        TokenKind::Workflow => "csgn_w",
        TokenKind::Staged => "csgn_s",
    }
}

/// Where it was found, for its holder.
fn shown(report: &Report<'_>) -> String {
    let place = if report.url.is_empty() {
        report.source
    } else {
        report.url
    };
    let place: String = place
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect();
    if place.is_empty() {
        "a place that was not told".to_owned()
    } else {
        place
    }
}

/// Is this the signature of these very bytes? Base64 of DER, as the protocol has it.
fn verify(key: &VerifyingKey, signature: &str, body: &[u8]) -> Result<()> {
    let refused = || {
        Error::new(
            Kind::Rejected,
            "scan-signature",
            "The signature is not one of this report by that key.",
        )
        .remedy("Sign the body exactly as it is sent.")
    };
    let der = STANDARD.decode(signature.trim()).map_err(|_| refused())?;
    let signature = Signature::from_der(&der).map_err(|_| refused())?;
    key.verify(body, &signature).map_err(|_| refused())
}

/// The tokens of ours in a text, wherever they stand, a thousand at most; the checksum tells them from what only looks like one.
fn tokens_in(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut seen = HashSet::new();
    for (start, _) in text.match_indices("csgn_") {
        let word: String = text[start..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .take(Token::LENGTH)
            .collect();
        if let Ok(token) = Token::parse(&word)
            && seen.insert(token.hash())
        {
            found.push(token);
            if found.len() == ENTRIES {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n";
    const SIGNATURE: &str = "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==";
    const BODY: &[u8] = br#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;

    #[test]
    fn the_published_example_verifies_and_nothing_near_it_does() {
        let key = VerifyingKey::from_public_key_pem(KEY).unwrap();
        verify(&key, SIGNATURE, BODY).unwrap();
        let mut other = BODY.to_vec();
        other[20] ^= 1;
        let spaced = [BODY, b"\n"].concat();
        for body in [&other[..], &spaced, b""] {
            assert_eq!(
                verify(&key, SIGNATURE, body).unwrap_err().code,
                "scan-signature"
            );
        }
        for signature in ["", "AAAA", "not base64", &SIGNATURE[4..]] {
            assert_eq!(
                verify(&key, signature, BODY).unwrap_err().code,
                "scan-signature"
            );
        }
    }

    #[test]
    fn tokens_are_found_wherever_they_stand_and_only_whole_ones() {
        let token = Token::from_random(TokenKind::User, [7; 32]).reveal();
        let text = format!(
            "password = \"{token}\"; again {token}, cut {}",
            &token[..50]
        );
        assert_eq!(tokens_in(&text).len(), 1);
        assert!(tokens_in("csgn_u_aaaa and csgn_").is_empty());
        assert!(tokens_in(&"csgn_u_".repeat(1_000)).is_empty());
    }
}
