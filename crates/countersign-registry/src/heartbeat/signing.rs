//! TUF in the beat: every index document that is new becomes a target in the transaction that points to it.

use countersign_trust::tuf::TargetFile;

use super::*;
use crate::store::DueDocument;
use crate::tuf::{OWN, Prepared, TargetChange, Writer, target_path};

/// Documents that one transaction renders and signs besides those of the beat.
const DUE_AT_ONCE: u64 = 200;

/// Commits of TUF repositories, signed and not published yet.
pub(super) struct Signing(Vec<(Writer, Prepared)>);

impl Signing {
    /// In the caller's transaction. *Crash before its commit*: nothing was published, and the same versions are signed again.
    pub(super) async fn publish(&self, tx: &mut Tx, now: Time) -> Result<()> {
        for (_, prepared) in &self.0 {
            tx.publish_tuf(&prepared.publication, now).await?;
        }
        Ok(())
    }

    /// After the commit: memory follows.
    pub(super) fn show(self, registry: &Registry) {
        for (writer, prepared) in self.0 {
            writer.published(registry, prepared);
        }
    }
}

impl Registry {
    /// Makes the repositories of TUF where they are missing, and notes which documents are to be rendered or signed anew since
    /// the software, its settings or the database are other ones than before. At the start of a serving process.
    pub(super) async fn ready_to_sign(&self) -> Result<()> {
        self.found_tuf_if_missing().await?;
        let rendered_for = self.inner.settings.rendered_for();
        let mut due = 0;
        for ecosystem in OWN {
            let name = crate::tuf::document_name(ecosystem);
            let store = &self.inner.store;
            due += store
                .note_outdated_documents(ecosystem, name, &rendered_for, self.now())
                .await?;
        }
        if due > 0 {
            tracing::info!(documents = due, "index documents are to be signed into TUF");
        }
        let trust = self.tuf_trust().await?;
        if trust.development {
            tracing::warn!(
                "TUF IS IN DEVELOPMENT MODE: the keys of its roots lie in this server's folder of keys. Whoever gets into the \
                 server gets all of them. Hold a ceremony: `countersignd tuf ceremony`."
            );
        }
        Ok(())
    }

    /// Signs commits in which these targets change. Where it can not be signed, the log goes on without: the projects are
    /// noted as due, `healthz` says so, and it is made up for as soon as it can.
    pub(super) async fn sign_targets(
        &self,
        changes: Vec<(Ecosystem, TargetChange)>,
        now: Time,
    ) -> Result<Option<Signing>> {
        let mut signing = Vec::new();
        // In one order everywhere, so that nobody waits for each other.
        for ecosystem in OWN {
            let its: Vec<TargetChange> = changes
                .iter()
                .filter(|(of, _)| *of == ecosystem)
                .map(|(_, change)| change.clone())
                .collect();
            if its.is_empty() {
                continue;
            }
            match self.sign_its_targets(ecosystem, &its, now).await {
                Ok(Some(signed)) => signing.push(signed),
                Ok(None) => {}
                Err(error) if error.code == WRITE_CONFLICT => return Err(error),
                Err(error) => {
                    tracing::error!(%error, %ecosystem, "TUF metadata can not be signed; it is made up for later");
                    self.inner.beat.set_unsigned(Some(error.message.clone()));
                    return Ok(None);
                }
            }
        }
        self.inner.beat.set_unsigned(None);
        Ok(Some(Signing(signing)))
    }

    async fn sign_its_targets(
        &self,
        ecosystem: Ecosystem,
        changes: &[TargetChange],
        now: Time,
    ) -> Result<Option<(Writer, Prepared)>> {
        let name = ecosystem.as_str();
        let extra = self.tuf_extra(name).await?;
        let mut writer = self.tuf_writer(name).await?;
        let prepared = writer
            .change(&self.inner.store, changes, now.seconds(), extra)
            .await?;
        Ok(match prepared {
            Some(prepared) => Some((writer, prepared)),
            None => {
                writer.keep();
                None
            }
        })
    }

    /// Renders, points to and signs the documents that changed without a new file: after a yank, a withholding, a change of
    /// tags, of who may see them, or of settings. Until then readers get a rendering of their own (`fetch`), and the target
    /// is the one before. How many there were.
    pub(super) async fn settle_documents(&self) -> Result<usize> {
        let due = self.inner.store.documents_due(DUE_AT_ONCE).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let now = self.now();
        let (mut rows, mut changes) = (Vec::new(), Vec::new());
        for DueDocument { state, visible } in &due {
            let ecosystem = crate::store::ecosystem(&state.ecosystem)?;
            let path = target_path(ecosystem, &state.key);
            if !visible {
                changes.push((ecosystem, TargetChange { path, file: None }));
                continue;
            }
            let text = crate::fetch::rendered_index(&self.inner.store, state, &self.inner.settings)
                .await?;
            let document = Document::new(text.into(), state.serial).of(&state.name);
            // *Crash after it*: a document that nobody points to; the sweep takes it.
            self.inner
                .blobs
                .put_quick(
                    &document_path(&document.sha256.to_hex()),
                    document.bytes.clone(),
                )
                .await?;
            rows.push(DocumentRow {
                path: simple_path(ecosystem, &state.key),
                project: state.id.clone(),
                digest: document.sha256.to_hex(),
                size: document.bytes.len() as u64,
                serial: state.serial,
                rendered_for: self.inner.settings.rendered_for(),
            });
            let file = TargetFile::new(document.bytes.len() as u64, document.sha256);
            changes.push((
                ecosystem,
                TargetChange {
                    path,
                    file: Some(file),
                },
            ));
        }
        let Some(signing) = self.sign_targets(changes, now).await? else {
            // They stay due.
            return Ok(0);
        };
        let ids: Vec<ProjectId> = due.iter().map(|due| due.state.id.clone()).collect();
        let mut tx = self.inner.store.write().await?;
        let current = tx.lock_projects(&ids).await?;
        let same = |due: &DueDocument| {
            current.iter().any(|now| {
                now.id == due.state.id
                    && now.serial == due.state.serial
                    && now.status == due.state.status
            })
        };
        if !due.iter().all(same) {
            return Err(Error::new(
                Kind::Conflict,
                WRITE_CONFLICT,
                "A project changed while it was rendered.",
            ));
        }
        tx.point_documents(&rows, now).await?;
        signing.publish(&mut tx, now).await?;
        tx.settle_documents(&ids).await?;
        // *Crash before the commit*: all of them are due still. *After it*: all is as if memory had followed.
        tx.commit().await?;
        signing.show(self);
        let left = self.inner.store.documents_due_count().await?;
        if left > 0 {
            tracing::info!(
                signed = due.len(),
                left,
                "index documents are signed into TUF"
            );
        }
        Ok(due.len())
    }
}
