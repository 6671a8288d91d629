//! A passkey in software, for tests that have no browser: one ES256 key and a counter. It answers the options of a
//! ceremony as a browser hands them on.

use anyhow::{Context as _, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The passkey.
pub struct Passkey {
    pair: EcdsaKeyPair,
    id: Vec<u8>,
    holder: Vec<u8>,
    counter: u32,
    origin: String,
    host: String,
}

impl Passkey {
    /// A new one, in a browser that shows this origin (`http://localhost:8417`) of this host.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn new(origin: &str, host: &str) -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let id = Sha256::digest(pair.public_key().as_ref()).to_vec();
        Ok(Self {
            pair,
            id,
            holder: Vec::new(),
            counter: 0,
            origin: origin.to_owned(),
            host: host.to_owned(),
        })
    }

    /// The credential that answers the options of a registration.
    ///
    /// # Errors
    /// Where the options are none.
    pub fn create(&mut self, options: &Value) -> Result<Value> {
        let options = &options["publicKey"];
        let holder = options["user"]["id"].as_str().context("no user's id")?;
        self.holder = URL_SAFE_NO_PAD.decode(holder)?;
        let client = self.client_data("webauthn.create", options);
        let data = self.authenticator_data(true)?;
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len())?);
        object.extend(data);
        Ok(self.credential(&json!({
            "attestationObject": URL_SAFE_NO_PAD.encode(object),
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "transports": [],
        })))
    }

    /// The credential that answers the options of a sign-in or of an approval.
    ///
    /// # Errors
    /// Where it can not sign.
    pub fn get(&mut self, options: &Value) -> Result<Value> {
        let client = self.client_data("webauthn.get", &options["publicKey"]);
        let data = self.authenticator_data(false)?;
        let signed = [data.as_slice(), &Sha256::digest(&client)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed)?;
        Ok(self.credential(&json!({
            "authenticatorData": URL_SAFE_NO_PAD.encode(data),
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "signature": URL_SAFE_NO_PAD.encode(signature.as_ref()),
            "userHandle": URL_SAFE_NO_PAD.encode(&self.holder),
        })))
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }

    fn authenticator_data(&mut self, attested: bool) -> Result<Vec<u8>> {
        self.counter += 1;
        let mut data = Sha256::digest(self.host.as_bytes()).to_vec();
        // The person is there and verified; a new key comes with its data.
        data.push(if attested { 0x45 } else { 0x05 });
        data.extend(self.counter.to_be_bytes());
        if attested {
            data.extend([0; 16]);
            data.extend(u16::try_from(self.id.len())?.to_be_bytes());
            data.extend(&self.id);
            // COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
            let point = self.pair.public_key().as_ref();
            data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
            data.extend(point.get(1..33).context("no point")?);
            data.extend([0x22, 0x58, 0x20]);
            data.extend(point.get(33..65).context("no point")?);
        }
        Ok(data)
    }

    fn credential(&self, response: &Value) -> Value {
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "extensions": {}, "response": response})
    }
}
