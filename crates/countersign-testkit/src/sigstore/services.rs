//! What the services answer to clients that sign by themselves: Fulcio to a request for a certificate, Rekor to what is
//! to be logged. The requests and answers are those of `/api/v2/signingCert` and `/api/v1/log/entries`.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::certificates::{Leaf, Promise};
use super::keys::EcPublic;
use super::log::{EntryFaults, Signers};
use super::{Identity, PrivateSigstore, hash_value, pem};

impl PrivateSigstore {
    /// Certifies the key in a request for this identity, whoever asks, for ten minutes.
    pub fn certify(&self, identity: &Identity, request: &Value) -> Result<Value> {
        let key = request["publicKeyRequest"]["publicKey"]["content"]
            .as_str()
            .context("no public key in the request")?;
        ensure!(
            request["credentials"]["oidcIdentityToken"].is_string(),
            "no identity token in the request"
        );
        let begins = self.by(super::Holder::Key(String::new())).seconds - 2;
        let leaf = Leaf {
            identity,
            window: (begins, begins + 600),
            promise: Promise::Ours,
            code_signing: true,
            malformed: None,
        };
        let certificate =
            self.authority
                .certify(&EcPublic::of_pem(key)?, &leaf, &self.transparency);
        let chain = std::iter::once(&certificate).chain(&self.authority.chain);
        let chain: Vec<String> = chain.map(|der| pem("CERTIFICATE", der)).collect();
        Ok(json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}))
    }

    /// Logs an envelope in the older log, as an entry of the kind `dsse`.
    pub fn log(&self, proposed: &Value) -> Result<Value> {
        ensure!(
            proposed["kind"] == "dsse" && proposed["apiVersion"] == "0.0.1",
            "only dsse/0.0.1 is logged here, not {}",
            proposed["kind"]
        );
        let content = &proposed["spec"]["proposedContent"];
        let text = content["envelope"].as_str().context("no envelope")?;
        let envelope: Value = serde_json::from_str(text)?;
        let payload = envelope["payload"].as_str().context("no payload")?;
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": hash_value(text.as_bytes()),
                "payloadHash": hash_value(&STANDARD.decode(payload)?),
                "signatures": [{
                    "signature": envelope["signatures"][0]["sig"],
                    "verifier": content["verifiers"][0],
                }],
            },
        });
        let seconds = self.by(super::Holder::Key(String::new())).seconds;
        let by = Signers {
            promise: &self.v1,
            checkpoint: &self.v1,
        };
        let entry = self.v1.entry(&body, seconds, by, EntryFaults::default());
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        let as_hex = |value: &Value| -> Result<String> {
            let text = value.as_str().context("not a text")?;
            Ok(hex::encode(STANDARD.decode(text)?))
        };
        let proof = &entry["inclusionProof"];
        let hashes = proof["hashes"].as_array().into_iter().flatten();
        let answer = json!({
            "body": entry["canonicalizedBody"],
            "integratedTime": seconds,
            "logID": as_hex(&entry["logId"]["keyId"])?,
            "logIndex": number(&entry["logIndex"]),
            "verification": {
                "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                "inclusionProof": {
                    "checkpoint": proof["checkpoint"]["envelope"],
                    "hashes": hashes.map(as_hex).collect::<Result<Vec<_>>>()?,
                    "logIndex": number(&proof["logIndex"]),
                    "rootHash": as_hex(&proof["rootHash"])?,
                    "treeSize": number(&proof["treeSize"]),
                },
            },
        });
        Ok(json!({"24296fb24b8ad77a": answer}))
    }
}
