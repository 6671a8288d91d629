//! Secrets that must be readable again (what codes are made of) are sealed with a key that lies beside the log's keys,
//! apart from the database.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use countersign_trust::digest::Sha256;

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::keys::{read_secret, secret_or_new};
use crate::seams::Random;

/// The file in the folder of keys.
const FILE: &str = "sign-in.aes256";

/// Under this name the instance's own table keeps which key it is, so that another one is noticed.
const KEY_ID: &str = "sign_in_key";

/// Seals and opens.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    fn of(bytes: &[u8; 32]) -> Result<Self> {
        UnboundKey::new(&AES_256_GCM, bytes)
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|source| Error::internal("a sealing key can not be used", source.to_string()))
    }

    /// Seals a secret for one place: `place` must be the same to open it.
    pub(super) fn seal(&self, place: &str, secret: &[u8], random: &dyn Random) -> Result<String> {
        let mut nonce = [0_u8; 12];
        nonce.copy_from_slice(&random.bytes32()[..12]);
        let mut bytes = secret.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut bytes,
            )
            .map_err(|source| Error::internal("a secret can not be sealed", source.to_string()))?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut bytes);
        Ok(STANDARD_NO_PAD.encode(sealed))
    }

    /// Opens what was sealed for this place.
    pub(super) fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>> {
        let broken = || Error::internal("a sealed secret can not be opened", place.to_owned());
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| broken())?;
        let (nonce, rest) = bytes.split_at_checked(12).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut rest = rest.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut rest)
            .map_err(|_| broken())?;
        Ok(plain.to_vec())
    }
}

impl Registry {
    /// The seal of this instance; made at its first use.
    pub(super) async fn seal(&self) -> Result<&Seal> {
        self.inner
            .door
            .seal
            .get_or_try_init(|| async {
                let store = &self.inner.store;
                let folder = self.inner.settings.sign_in.key_folder.clone();
                let wanted = store.instance(KEY_ID).await?;
                let fresh = wanted.is_none().then(|| self.inner.seams.random.bytes32());
                let bytes = tokio::task::spawn_blocking(move || key(&folder, fresh))
                    .await
                    .map_err(|source| Error::internal("a task broke off", source))??;
                let id = Sha256::of(&bytes).to_string();
                // Two servers may have made a key each at their first use: the first one's stands.
                let wanted = match wanted {
                    Some(wanted) => wanted,
                    None => {
                        let mut tx = store.write().await?;
                        let first = tx.first_instance(KEY_ID, &id).await?;
                        tx.commit().await?;
                        first
                    }
                };
                match wanted {
                    wanted if wanted != id => Err(Error::unavailable(
                        "sign-in-key-wrong",
                        format!("The key {FILE} is not the one that codes of this registry were sealed with."),
                    )
                    .remedy("Put the right key into the folder of keys; every server of one registry has the same.")),
                    _ => Seal::of(&bytes),
                }
            })
            .await
    }
}

/// Reads the key; makes it of `fresh` bytes where there is none and none was ever used.
fn key(folder: &Path, fresh: Option<[u8; 32]>) -> Result<[u8; 32]> {
    let read = match fresh {
        Some(fresh) => secret_or_new(folder, FILE, fresh),
        None => read_secret(folder, FILE),
    };
    read.map_err(|source| {
        Error::new(
            Kind::Unavailable,
            "sign-in-key-missing",
            format!(
                "The key {} can not be had: {source}.",
                folder.join(FILE).display()
            ),
        )
        .remedy("Put it back from where you keep the keys. Passkeys and recovery codes work without it.")
        .because(source)
    })
}
