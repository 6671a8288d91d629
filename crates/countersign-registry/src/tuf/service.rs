//! Signing for registries elsewhere, by the API of RSTUF (`docs/operating-tuf-service.md`): a repository whose targets are paths, lengths
//! and digests that somebody sends.
//!
//! A repository is `service/NAME`. Its root is signed by people; one online key, its own, signs the rest. Each request is
//! finished when it is answered: what it changed is published, or waits for signatures, in one transaction with the row of its
//! task. Requests that arrive while a commit is under way share the next one.

mod artifacts;
mod delegations;
mod request;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use countersign_trust::sigstore::{Signs, TrustRoot};
use countersign_trust::tuf::ceremony::Pending;
use countersign_trust::tuf::repository::{Draft, INDEX, Lifetime, Lifetimes};
use countersign_trust::tuf::{
    Delegated, DelegatedRole, Delegations, Document, Envelope, Extra, Key, Limits, Refusal,
    RoleKeys, Root, Scope, Signature, TOP_LEVEL, Targets,
};
use serde_json::{Value, json};

use super::{Contents, Online, Terms, Writer, keys, refused};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Time};
use crate::policy;
use crate::services::{Part, check_name};
use crate::store::{PendingRow, ServiceRow, Store, TaskRow, retried};

use request::{Settings, strict, wrong};

pub(crate) use artifacts::Queue;

const DAY: i64 = 86_400;
/// Tasks are answered for this long, in seconds.
const KEEP_TASKS: i64 = 7 * DAY;
/// How often a change is tried again when another process was a moment earlier.
const RACES: usize = 20;

const NONE: &str = "none";
const SIGNING: &str = "signing";
const FINISHED: &str = "finished";

/// The name of a service's repository.
fn repository_of(name: &str) -> String {
    format!("service/{name}")
}

/// A caller who may use one service: only [`Registry::tuf_service_desk`] makes one.
#[derive(Debug)]
pub struct ServiceDesk {
    name: String,
}

/// A request that was taken and done.
#[derive(Clone, Debug)]
pub struct ServiceTask {
    /// Under which it can be asked for.
    pub id: String,
    /// When it was done.
    pub at: Time,
}

/// A service, for people and programs.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TufServiceSummary {
    /// Its name.
    pub name: String,
    /// none, signing (its first root waits for signatures) or finished.
    pub state: String,
    /// The id of its online key.
    pub online_key: String,
    /// How many artifacts are listed.
    pub artifacts: u64,
}

/// The turns of services in this process.
#[derive(Default)]
pub(crate) struct ServiceRoom {
    queues: Mutex<HashMap<String, std::sync::Arc<Queue>>>,
}

/// What a task tells about itself.
struct Done {
    task: &'static str,
    message: String,
    details: Value,
}

impl Done {
    fn new(task: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self {
            task,
            message: message.into(),
            details,
        }
    }

    fn row(&self, id: &str, now: Time) -> TaskRow {
        let result = json!({
            "task": self.task, "status": true, "message": self.message, "details": self.details,
            "last_update": shown(now),
        });
        TaskRow {
            id: id.to_owned(),
            state: "SUCCESS".to_owned(),
            result: result.to_string(),
        }
    }
}

fn shown(now: Time) -> String {
    countersign_trust::tuf::format_time(now.seconds()).unwrap_or_default()
}

fn conflict(code: &'static str, sentence: impl Into<String>, remedy: &str) -> Error {
    Error::new(Kind::Conflict, code, sentence).remedy(remedy)
}

fn not_ready(name: &str) -> Error {
    conflict(
        "tuf-service-not-ready",
        format!("The service {name:?} has no root that enough people signed yet."),
        "Run `rstuf admin ceremony`, and `rstuf admin metadata sign` until the threshold is met.",
    )
}

/// The expiry that a delegated role asks for, in days.
fn days_of(role: &DelegatedRole) -> i64 {
    role.keys
        .extra
        .get("x-rstuf-expire-policy")
        .and_then(Value::as_i64)
        .filter(|days| (1..=3_650).contains(days))
        .unwrap_or(365)
}

/// How a repository with these settings is run.
fn terms(settings: &Settings, source: &str) -> Terms {
    let life = |days: i64, renew: i64| Lifetime {
        good_for: days * DAY,
        renew_before: renew,
    };
    let of = |role: &str| settings.days(role);
    let bins = of("bins");
    // A role that is good for a day only is renewed when a quarter of it is left.
    let quarter = |days: i64| days * DAY / 4;
    let shortest = settings.shortest();
    Terms {
        development: false,
        keys: ["timestamp", "snapshot", "targets", "index", "bins"]
            .into_iter()
            .map(|role| (role.to_owned(), source.to_owned()))
            .collect(),
        lifetimes: Lifetimes {
            timestamp: life(of("timestamp"), of("timestamp") * DAY - 3_600),
            snapshot: life(of("snapshot"), quarter(of("snapshot"))),
            index: life(of("targets"), quarter(of("targets"))),
            bins: life(bins, quarter(bins)),
            bins_spread: bins * DAY / 2,
            offline_before: (90 * DAY).min(quarter(shortest)),
        },
        keep_former: false,
        fixed_bins: true,
        next: BTreeMap::new(),
        targets_good_for: Some(of("targets") * DAY),
    }
}

/// Does the online key sign this role?
fn is_online(role: &DelegatedRole, online: &Key) -> bool {
    role.keys.keyids.iter().any(|id| *id == online.id())
}

/// The custom roles of top-level targets: all but the index.
fn custom(targets: Option<&Targets>) -> Vec<DelegatedRole> {
    match targets.and_then(|targets| targets.delegations.as_ref()) {
        Some(Delegations {
            roles: Delegated::Listed(roles),
            ..
        }) => roles
            .iter()
            .filter(|role| role.name != INDEX)
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

/// Top-level targets that hand on to these roles, and to the index for all the rest.
fn handing_on(
    version: u64,
    expires: i64,
    roles: Vec<DelegatedRole>,
    mut keys: BTreeMap<String, Key>,
    online: &Key,
) -> Targets {
    keys.insert(online.id(), online.clone());
    let mut roles = roles;
    roles.push(DelegatedRole {
        name: INDEX.to_owned(),
        keys: RoleKeys::new(vec![online.id()], 1),
        terminating: true,
        scope: Scope::everything(),
    });
    let mut delegations = Delegations {
        keys,
        roles: Delegated::Listed(roles),
        extra: Extra::default(),
    };
    delegations.drop_unused_keys();
    Targets {
        delegations: Some(delegations),
        ..Targets::empty(version, expires)
    }
}

fn signed(role: &str, document: Targets, by: &dyn Signs) -> Result<Vec<u8>> {
    let mut envelope = Envelope::unsigned(document);
    envelope.sign(role, by).map_err(refused)?;
    Ok(envelope.to_bytes())
}

/// What is done with a document once enough people signed it.
#[derive(Clone, Debug, PartialEq)]
enum About {
    /// The root.
    Root,
    /// What is in a delegated role.
    Contents,
    /// A role that is delegated to from then on.
    Delegation(Box<Delegations>),
}

impl About {
    fn write(&self) -> Result<String> {
        Ok(match self {
            Self::Root => json!({"kind": "root"}).to_string(),
            Self::Contents => json!({"kind": "contents"}).to_string(),
            Self::Delegation(delegations) => {
                let document = Targets {
                    delegations: Some((**delegations).clone()),
                    ..Targets::empty(1, 0)
                };
                let text = String::from_utf8(Envelope::unsigned(document).to_bytes())
                    .map_err(|source| Error::internal("a delegation is not UTF-8", source))?;
                json!({"kind": "delegation", "document": text}).to_string()
            }
        })
    }

    fn read(text: &str) -> Result<Self> {
        let damaged = || Error::internal("a pending document is damaged", text.to_owned());
        let value: Value = serde_json::from_str(text).map_err(|_| damaged())?;
        match value.get("kind").and_then(Value::as_str) {
            Some("root") => Ok(Self::Root),
            Some("contents") => Ok(Self::Contents),
            Some("delegation") => {
                let document = value.get("document").and_then(Value::as_str);
                let document = document.ok_or_else(damaged)?.as_bytes();
                let read = Envelope::<Targets>::parse("targets", document, &Limits::default());
                let delegations = read.ok().and_then(|read| read.document.delegations);
                Ok(Self::Delegation(Box::new(delegations.ok_or_else(damaged)?)))
            }
            _ => Err(damaged()),
        }
    }
}

/// A document that waits, with one signature more; and its file, once enough signed.
fn with_signature<T: Document>(
    read: std::result::Result<Pending<T>, Refusal>,
    signature: &Signature,
    now: i64,
) -> Result<(Pending<T>, Option<Vec<u8>>)> {
    let mut pending = read.map_err(refused_request)?;
    pending.add(signature.clone()).map_err(refused_request)?;
    let complete = pending.status().complete();
    let file = complete.then(|| pending.finish(now)).transpose();
    let file = file.map_err(refused_request)?;
    Ok((pending, file))
}

impl Registry {
    fn service_signer(&self, source: &str) -> Result<Box<dyn Signs>> {
        keys::signer(source, self.key_folder())
    }

    fn online_key(&self, source: &str) -> Result<Key> {
        Key::of(self.service_signer(source)?.as_ref()).map_err(refused)
    }

    /// Makes a service, with a key of its own in the folder of keys unless a source is given. Its online key (DER,
    /// SubjectPublicKeyInfo), which the ceremony takes.
    ///
    /// # Errors
    /// `service-name`, `tuf-service-exists`; as keys are had. For operators alone.
    pub async fn create_tuf_service(
        &self,
        actor: &Actor,
        name: &str,
        source: Option<&str>,
    ) -> Result<Vec<u8>> {
        policy::may_operate(actor, "create TUF services")?;
        check_name(name)?;
        // The key first: a crash after it leaves a file that the next attempt takes.
        let source = match source {
            Some(source) => source.to_owned(),
            None => self.service_key_file(name, "online")?,
        };
        let spki = self.service_spki(&source)?;
        let mut tx = self.inner.store.write().await?;
        if !tx.insert_tuf_service(name, &source, self.now()).await? {
            return Err(conflict(
                "tuf-service-exists",
                format!("There is a service {name:?} already."),
                "Choose another name.",
            ));
        }
        tx.commit().await?;
        Ok(spki)
    }

    /// Gets ready for another online key: the next root may name it. The key (DER, SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// As [`Registry::create_tuf_service`].
    pub async fn prepare_tuf_service_key(
        &self,
        actor: &Actor,
        name: &str,
        source: Option<&str>,
    ) -> Result<Vec<u8>> {
        policy::may_operate(actor, "change TUF services")?;
        let before = self.service(name).await?;
        let source = match source {
            Some(source) => source.to_owned(),
            None => self.service_key_file(name, &new_id())?,
        };
        let spki = self.service_spki(&source)?;
        let after = ServiceRow {
            next_key: Some(source),
            ..before.clone()
        };
        let mut tx = self.inner.store.write().await?;
        tx.set_tuf_service(&before, &after).await?;
        tx.commit().await?;
        Ok(spki)
    }

    fn service_key_file(&self, name: &str, which: &str) -> Result<String> {
        let file = format!("tuf-service-{name}.{which}");
        keys::in_folder(self.key_folder(), &file, self.inner.seams.random.bytes32())
    }

    fn service_spki(&self, source: &str) -> Result<Vec<u8>> {
        let signer = self.service_signer(source)?;
        signer
            .public_key()
            .map_err(|why| Error::internal("a key does not show itself", why.to_string()))
    }

    /// All services.
    ///
    /// # Errors
    /// Where the database fails or a key is away.
    pub async fn tuf_services(&self) -> Result<Vec<TufServiceSummary>> {
        let mut list = Vec::new();
        for row in self.inner.store.tuf_services().await? {
            let repository = repository_of(&row.name);
            list.push(TufServiceSummary {
                online_key: self.online_key(&row.key_source)?.id(),
                artifacts: self.inner.store.tuf_count(&repository).await?,
                name: row.name,
                state: row.state,
            });
        }
        Ok(list)
    }

    /// Makes a token that is good for one service and for nothing else.
    ///
    /// # Errors
    /// `tuf-service-unknown`. For operators alone.
    pub async fn create_tuf_service_token(
        &self,
        actor: &Actor,
        name: &str,
        label: &str,
    ) -> Result<String> {
        policy::may_operate(actor, "make tokens of TUF services")?;
        self.service(name).await?;
        self.service_token(actor, Part::Tuf, name, label).await
    }

    async fn service(&self, name: &str) -> Result<ServiceRow> {
        self.inner.store.tuf_service(name).await?.ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Error::new(
                Kind::NotFound,
                "tuf-service-unknown",
                format!("There is no service {shown:?} here."),
            )
            .remedy("`countersignd tuf service list` lists them.")
        })
    }

    /// Lets the holder of a service's token in. To others a service that is not there looks as one that is.
    ///
    /// # Errors
    /// `tuf-service-token`.
    pub async fn tuf_service_desk(&self, name: &str, token: Option<&str>) -> Result<ServiceDesk> {
        let refuse = || {
            Error::new(
                Kind::Unauthenticated,
                "tuf-service-token",
                "This service takes a token of its own.",
            )
            .remedy("Make one with `countersignd tuf service token NAME`, and send it: --headers \"Authorization: Bearer TOKEN\".")
        };
        let service = self.service_of_token(Part::Tuf, token).await?;
        if service.as_deref() != Some(name) {
            return Err(refuse());
        }
        Ok(ServiceDesk {
            name: name.to_owned(),
        })
    }

    fn task(&self) -> ServiceTask {
        ServiceTask {
            id: new_id(),
            at: self.now(),
        }
    }

    /// How the ceremony of a service stands: whether it is done or under way, the state, and its task.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn tuf_service_bootstrap_state(
        &self,
        desk: &ServiceDesk,
    ) -> Result<(String, Option<String>)> {
        let row = self.service(&desk.name).await?;
        Ok((row.state, row.task_id))
    }

    /// Takes the outcome of a ceremony: settings, and a first root that is signed by enough people or will be.
    ///
    /// # Errors
    /// `tuf-service-request` for what is no such thing; `tuf-service-bootstrapped`; `tuf-service-online-key`; `tuf-refused`.
    pub async fn bootstrap_tuf_service(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<ServiceTask> {
        let request = strict(body)?;
        let settings = Settings::read(&request)?;
        let root = request
            .pointer("/metadata/root")
            .ok_or_else(|| wrong("`metadata.root` is missing"))?
            .to_string();
        let row = self.service(&desk.name).await?;
        if row.state != NONE {
            return Err(conflict(
                "tuf-service-bootstrapped",
                format!("The service {:?} had its ceremony.", desk.name),
                "Change its root with `rstuf admin metadata update`.",
            ));
        }
        let pending = Pending::read_root(root.as_bytes(), None, &TrustRoot::public_good())
            .map_err(refused_request)?;
        self.check_online(&row, pending.document())?;
        settings.check_roles()?;
        let task = self.task();
        if pending.status().complete() {
            let bytes = pending.finish(task.at.seconds()).map_err(refused_request)?;
            let done = Done::new(
                "bootstrap",
                "Bootstrap finished.",
                json!({"bootstrap": true, "root": "signed"}),
            );
            self.found_service(&row, &settings, &bytes, &task, &done)
                .await?;
            return Ok(task);
        }
        let after = ServiceRow {
            state: SIGNING.to_owned(),
            settings: settings.write(),
            task_id: Some(task.id.clone()),
            ..row.clone()
        };
        let waiting = PendingRow {
            role: "root".to_owned(),
            body: text(pending.to_bytes())?,
            about: About::Root.write()?,
        };
        let done = Done::new(
            "bootstrap",
            "Root waits for signatures.",
            json!({"bootstrap": false, "root": "signing"}),
        );
        let mut tx = self.inner.store.write().await?;
        tx.set_tuf_service(&row, &after).await?;
        tx.put_tuf_pending(&desk.name, &waiting, task.at).await?;
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.commit().await?;
        Ok(task)
    }

    /// The online roles of a root must name the key that is here, alone.
    fn check_online(&self, row: &ServiceRow, root: &Root) -> Result<String> {
        let sources = [Some(&row.key_source), row.next_key.as_ref()];
        for source in sources.into_iter().flatten() {
            let id = self.online_key(source)?.id();
            let named = TOP_LEVEL
                .iter()
                .filter(|role| **role != "root")
                .all(|role| {
                    let keys = root.roles.get(*role);
                    keys.is_some_and(|keys| keys.threshold == 1 && keys.keyids == [id.clone()])
                });
            let listed = root.keys.get(&id).and_then(Key::spki);
            if named && listed == self.online_key(source)?.spki() {
                return Ok(source.clone());
            }
        }
        Err(Error::new(
            Kind::Rejected,
            "tuf-service-online-key",
            "The root names another online key than the one that signs here.",
        )
        .remedy("Give the ceremony the public key that `countersignd tuf service create` printed, as the online key."))
    }

    /// Publishes the first commit. A crash before its transaction ends leaves the service as it was.
    async fn found_service(
        &self,
        row: &ServiceRow,
        settings: &Settings,
        root: &[u8],
        task: &ServiceTask,
        done: &Done,
    ) -> Result<()> {
        let now = task.at.seconds();
        let signer = self.service_signer(&row.key_source)?;
        let online = Key::of(signer.as_ref()).map_err(refused)?;
        let terms = terms(settings, &row.key_source);
        let (mut roles, mut keys, mut offline) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (role, its_keys) in settings.roles(&online)? {
            if is_online(&role, &online) {
                keys.extend(its_keys);
                roles.push(role);
            } else {
                offline.push(delegations::pending(
                    &role,
                    its_keys,
                    Contents::new(),
                    1,
                    now,
                )?);
            }
        }
        let expires = now + settings.days("targets") * DAY;
        let document = handing_on(1, expires, roles.clone(), keys, &online);
        let targets = signed("targets", document, signer.as_ref())?;
        let bins = super::own::division(settings.bits());
        let edit = |draft: &mut Draft<'_>| -> Result<(), Refusal> {
            draft.targets(&targets)?;
            draft.divide(bins.bit_length)?;
            for bin in 0..bins.count() {
                draft.bin(&bins.name(bin), Contents::new())?;
            }
            for role in &roles {
                let life = days_of(role) * DAY;
                draft.sign_role(&role.name, Contents::new(), life, &[signer.as_ref()])?;
            }
            Ok(())
        };
        let repository = repository_of(&row.name);
        let (writer, prepared) = self
            .found_tuf(&repository, terms, root, edit, Vec::new())
            .await?;
        let after = ServiceRow {
            state: FINISHED.to_owned(),
            settings: settings.write(),
            task_id: row.task_id.clone().or_else(|| Some(task.id.clone())),
            ..row.clone()
        };
        let mut tx = self.inner.store.write().await?;
        tx.set_tuf_service(row, &after).await?;
        tx.drop_tuf_pending(&row.name, "root").await?;
        for waiting in &offline {
            tx.put_tuf_pending(&row.name, waiting, task.at).await?;
        }
        tx.insert_tuf_tasks(&row.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.publish_tuf(&prepared.publication, task.at).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        Ok(())
    }

    /// What a service was asked to be: one flat object, as RSTUF has it.
    ///
    /// # Errors
    /// `tuf-service-not-ready`.
    pub async fn tuf_service_config(&self, desk: &ServiceDesk) -> Result<Value> {
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let settings = Settings::stored(&row.settings)?;
        let writer = self.tuf_writer(&repository_of(&desk.name)).await?;
        let root = writer.repository().root().clone();
        writer.keep();
        let mut config = json!({
            "number_of_delegated_bins": 1u64 << settings.bits(),
            "bootstrap": row.task_id,
            "trusted_root": root.version,
        });
        for role in ["root", "targets", "snapshot", "timestamp", "bins"] {
            config[format!("{role}_expiration")] = json!(settings.days(role));
            let keys = root.roles.get(role);
            config[format!("{role}_threshold")] = json!(keys.map_or(1, |keys| keys.threshold));
            config[format!("{role}_num_keys")] = json!(keys.map_or(1, |keys| keys.keyids.len()));
        }
        Ok(config)
    }

    /// Changes for how long roles are good, from the next time that each is signed.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-not-ready`.
    pub async fn configure_tuf_service(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<ServiceTask> {
        let request = strict(body)?;
        let changes = request::expirations(&request)?;
        let task = self.task();
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let mut settings = Settings::stored(&row.settings)?;
        let names: Vec<String> = changes.keys().cloned().collect();
        settings.set_days(changes);
        let done = Done::new(
            "update_settings",
            "Update Settings Succeeded",
            json!({"updated_roles": names, "invalid_roles": []}),
        );
        let after = ServiceRow {
            settings: settings.write(),
            ..row.clone()
        };
        let mut writer = self.tuf_writer(&repository_of(&desk.name)).await?;
        writer.run_by(terms(&settings, &row.key_source), self.key_folder())?;
        let mut prepared = writer.draft(task.at.seconds(), Extra::default(), |_| Ok(()))?;
        prepared.publication.terms = Some(writer.terms().to_json()?);
        let mut tx = self.inner.store.write().await?;
        tx.set_tuf_service(&row, &after).await?;
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.publish_tuf(&prepared.publication, task.at).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        Ok(task)
    }

    /// Takes a new root, which enough people signed or will sign.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-not-ready`, `tuf-service-online-key`, `tuf-refused`; `tuf-service-pending` where
    /// another root waits for signatures.
    pub async fn update_tuf_service_root(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<ServiceTask> {
        let request = strict(body)?;
        let root = request
            .pointer("/metadata/root")
            .ok_or_else(|| wrong("`metadata.root` is missing"))?
            .to_string();
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let task = self.task();
        let writer = self.tuf_writer(&repository_of(&desk.name)).await?;
        let waiting = self.inner.store.tuf_service_pending(&desk.name).await?;
        if waiting.iter().any(|pending| pending.role == "root") {
            writer.keep();
            return Err(conflict(
                "tuf-service-pending",
                "Another root waits for signatures.",
                "Sign it with `rstuf admin metadata sign`, or drop it with `rstuf admin metadata stop-sign`.",
            ));
        }
        let before = writer.repository().root().clone();
        let checked = Pending::read_root(root.as_bytes(), Some(&before), &TrustRoot::public_good())
            .map_err(refused_request)
            .and_then(|pending| Ok((self.check_online(&row, pending.document())?, pending)));
        let (source, pending) = match checked {
            Ok(checked) => checked,
            Err(refusal) => {
                writer.keep();
                return Err(refusal);
            }
        };
        if pending.status().complete() {
            let bytes = pending.finish(task.at.seconds()).map_err(refused_request)?;
            let done = Done::new(
                "metadata_update",
                "Metadata update finished.",
                json!({"role": "root", "version": pending.document().version}),
            );
            self.rotate_service_root(writer, &row, &source, &bytes, &task, &done)
                .await?;
            return Ok(task);
        }
        writer.keep();
        let waiting = PendingRow {
            role: "root".to_owned(),
            body: text(pending.to_bytes())?,
            about: About::Root.write()?,
        };
        let done = Done::new(
            "metadata_update",
            "Metadata update waits for signatures.",
            json!({"role": "root", "version": pending.document().version}),
        );
        let mut tx = self.inner.store.write().await?;
        tx.put_tuf_pending(&desk.name, &waiting, task.at).await?;
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Publishes a new root. Where it names another online key, all that this signs at the top is signed anew in the same
    /// transaction, so that no reader sees one without the other; bins follow, since the index names both keys until then.
    async fn rotate_service_root(
        &self,
        mut writer: Writer,
        row: &ServiceRow,
        source: &str,
        root: &[u8],
        task: &ServiceTask,
        done: &Done,
    ) -> Result<()> {
        let now = task.at.seconds();
        let other = source != row.key_source;
        let settings = Settings::stored(&row.settings)?;
        let mut renewed = None;
        if other {
            let old = self.online_key(&row.key_source)?;
            let signer = self.service_signer(source)?;
            let online = Key::of(signer.as_ref()).map_err(refused)?;
            let version = writer.next_targets_version();
            let expires = now + settings.days("targets") * DAY;
            let top = writer.repository().targets();
            let mut roles = custom(top);
            let mut resigned = Vec::new();
            for role in roles.iter_mut().filter(|role| is_online(role, &old)) {
                role.keys.keyids = vec![online.id()];
                resigned.push(role.clone());
            }
            let keys = top
                .and_then(|top| Some(top.delegations.as_ref()?.keys.clone()))
                .unwrap_or_default();
            let mut contents = Vec::new();
            for role in resigned {
                let held = writer.role_contents(&self.inner.store, &role.name).await?;
                contents.push((role, held));
            }
            let document = handing_on(version, expires, roles, keys, &online);
            let targets = signed("targets", document, signer.as_ref())?;
            writer.run_by(terms(&settings, source), self.key_folder())?;
            renewed = Some((targets, contents, signer));
        }
        let mut prepared = writer.draft(now, Extra::default(), |draft| {
            draft.root(root, other)?;
            if let Some((targets, contents, signer)) = &renewed {
                draft.targets(targets)?;
                for (role, held) in contents {
                    let life = days_of(role) * DAY;
                    draft.sign_role(&role.name, held.clone(), life, &[signer.as_ref()])?;
                }
                draft.renew_index();
            }
            Ok(())
        })?;
        let mut tx = self.inner.store.write().await?;
        if other {
            prepared.publication.terms = Some(writer.terms().to_json()?);
            let after = ServiceRow {
                key_source: source.to_owned(),
                next_key: None,
                ..row.clone()
            };
            tx.set_tuf_service(row, &after).await?;
        }
        tx.drop_tuf_pending(&row.name, "root").await?;
        tx.insert_tuf_tasks(&row.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.publish_tuf(&prepared.publication, task.at).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        Ok(())
    }

    /// All that waits for signatures, by role, with what it follows (`trusted_root`, `trusted_targets`).
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn tuf_service_pending(&self, desk: &ServiceDesk) -> Result<Value> {
        let row = self.service(&desk.name).await?;
        let waiting = self.inner.store.tuf_service_pending(&desk.name).await?;
        let mut metadata = serde_json::Map::new();
        let parsed = |body: &str| -> Result<Value> {
            serde_json::from_str(body)
                .map_err(|source| Error::internal("a pending document is damaged", source))
        };
        let store = &self.inner.store;
        let repository = repository_of(&desk.name);
        for pending in &waiting {
            metadata.insert(pending.role.clone(), parsed(&pending.body)?);
            if row.state != FINISHED {
                continue;
            }
            if pending.role == "root" {
                if let Some(root) = store.tuf_newest(&repository, "root").await? {
                    metadata.insert("trusted_root".to_owned(), parsed(&root.body)?);
                }
            } else if !metadata.contains_key("trusted_targets") {
                let writer = self.tuf_writer(&repository).await?;
                let proposed = self.proposed_targets(&writer, &row, &waiting);
                writer.keep();
                let body = text(Envelope::unsigned(proposed?).to_bytes())?;
                metadata.insert("trusted_targets".to_owned(), parsed(&body)?);
            }
        }
        Ok(json!({ "metadata": metadata }))
    }

    /// The targets as they will be once all that waits is signed: they name the keys of roles that are not delegated to yet.
    /// Nobody signed them.
    fn proposed_targets(
        &self,
        writer: &Writer,
        row: &ServiceRow,
        waiting: &[PendingRow],
    ) -> Result<Targets> {
        let online = self.online_key(&row.key_source)?;
        let top = writer.repository().targets();
        let mut keys = top
            .and_then(|top| Some(top.delegations.as_ref()?.keys.clone()))
            .unwrap_or_default();
        let mut roles = custom(top);
        for pending in waiting {
            if let About::Delegation(new) = About::read(&pending.about)? {
                keys.extend(new.keys.clone());
                if let Delegated::Listed(listed) = &new.roles {
                    roles.retain(|role| listed.iter().all(|new| new.name != role.name));
                    roles.extend(listed.iter().cloned());
                }
            }
        }
        let (version, expires) = top.map_or((1, 0), |top| (top.version, top.expires));
        Ok(handing_on(version, expires, roles, keys, &online))
    }

    /// Takes a person's signature. When it is the last that was missing, the document is published.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-nothing-pending`, `tuf-refused` for a signature that does not fit.
    pub async fn sign_tuf_service(&self, desk: &ServiceDesk, body: &[u8]) -> Result<ServiceTask> {
        let request = strict(body)?;
        let field = |pointer: &str| {
            let value = request.pointer(pointer).and_then(Value::as_str);
            value.ok_or_else(|| wrong(&format!("`{pointer}` is no text")))
        };
        let role = field("/role")?;
        let signature = Signature {
            keyid: field("/signature/keyid")?.to_owned(),
            sig: field("/signature/sig")?.to_owned(),
            bundle: request.pointer("/signature/bundle").cloned(),
        };
        retried(RACES, || self.sign_service_once(desk, role, &signature)).await
    }

    async fn sign_service_once(
        &self,
        desk: &ServiceDesk,
        role: &str,
        signature: &Signature,
    ) -> Result<ServiceTask> {
        let task = self.task();
        let now = task.at.seconds();
        let row = self.service(&desk.name).await?;
        let waiting = self.inner.store.tuf_service_pending(&desk.name).await?;
        let Some(found) = waiting.iter().find(|pending| pending.role == role) else {
            return Err(nothing_pending(role));
        };
        let about = About::read(&found.about)?;
        let done = |message: &str| Done::new("sign_metadata", message, json!({"role": role}));
        let (body, sigstore) = (found.body.as_bytes(), TrustRoot::public_good());
        if row.state == SIGNING {
            let signed = with_signature(Pending::read_root(body, None, &sigstore), signature, now);
            let (pending, complete) = signed?;
            let Some(bytes) = complete else {
                let waits = pending.to_bytes();
                return self.keep_signature(desk, found, waits, task).await;
            };
            let settings = Settings::stored(&row.settings)?;
            self.found_service(&row, &settings, &bytes, &task, &done("Bootstrap finished."))
                .await?;
            return Ok(task);
        }
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let writer = self.tuf_writer(&repository_of(&desk.name)).await?;
        if about == About::Root {
            let before = writer.repository().root().clone();
            let read = Pending::read_root(body, Some(&before), &sigstore);
            let signed = with_signature(read, signature, now);
            let Ok((pending, Some(bytes))) = signed else {
                writer.keep();
                let waits = signed?.0.to_bytes();
                return self.keep_signature(desk, found, waits, task).await;
            };
            let source = self.check_online(&row, pending.document())?;
            let done = done("Metadata update finished.");
            self.rotate_service_root(writer, &row, &source, &bytes, &task, &done)
                .await?;
            return Ok(task);
        }
        let proposed = self.proposed_targets(&writer, &row, std::slice::from_ref(found))?;
        let read = Pending::read_targets(role, body, "targets", &proposed, &sigstore);
        let signed = with_signature(read, signature, now);
        let Ok((_, Some(bytes))) = signed else {
            writer.keep();
            let waits = signed?.0.to_bytes();
            return self.keep_signature(desk, found, waits, task).await;
        };
        self.publish_signed_role(writer, &row, role, &about, proposed, &bytes, &task)
            .await?;
        Ok(task)
    }

    /// Publishes a role that people signed, and the delegation to it where that is new.
    #[expect(clippy::too_many_arguments, reason = "one step of one caller")]
    async fn publish_signed_role(
        &self,
        mut writer: Writer,
        row: &ServiceRow,
        role: &str,
        about: &About,
        proposed: Targets,
        bytes: &[u8],
        task: &ServiceTask,
    ) -> Result<()> {
        let now = task.at.seconds();
        let settings = Settings::stored(&row.settings)?;
        let mut top = None;
        if matches!(about, About::Delegation(_)) {
            let document = Targets {
                version: writer.next_targets_version(),
                expires: now + settings.days("targets") * DAY,
                ..proposed
            };
            let signer = self.service_signer(&row.key_source)?;
            top = Some(signed("targets", document, signer.as_ref())?);
        }
        let prepared = writer.draft(now, Extra::default(), |draft| {
            if let Some(top) = &top {
                draft.targets(top)?;
            }
            draft.role(role, bytes)
        })?;
        let done = Done::new(
            "sign_metadata",
            "Signature complete, metadata published.",
            json!({"role": role}),
        );
        let mut tx = self.inner.store.write().await?;
        tx.drop_tuf_pending(&row.name, role).await?;
        tx.insert_tuf_tasks(&row.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.publish_tuf(&prepared.publication, task.at).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        Ok(())
    }

    /// Keeps one more signature. Of two that arrive at once neither is lost: the row must be what was read.
    async fn keep_signature(
        &self,
        desk: &ServiceDesk,
        found: &PendingRow,
        bytes: Vec<u8>,
        task: ServiceTask,
    ) -> Result<ServiceTask> {
        let done = Done::new(
            "sign_metadata",
            "Signature taken; more are needed.",
            json!({"role": found.role}),
        );
        let mut tx = self.inner.store.write().await?;
        let body = text(bytes)?;
        tx.replace_tuf_pending(&desk.name, found, &body).await?;
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Drops what waits for signatures of a role.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-nothing-pending`.
    pub async fn drop_tuf_service_pending(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<ServiceTask> {
        let request = strict(body)?;
        let role = request.get("role").and_then(Value::as_str);
        let role = role.ok_or_else(|| wrong("`role` is no text"))?;
        let row = self.service(&desk.name).await?;
        let task = self.task();
        let done = Done::new(
            "delete_sign_metadata",
            "Deletion of metadata pending signatures successful.",
            json!({"role": role}),
        );
        let mut tx = self.inner.store.write().await?;
        if !tx.drop_tuf_pending(&desk.name, role).await? {
            return Err(nothing_pending(role));
        }
        if row.state == SIGNING {
            // The ceremony can be held again.
            let after = ServiceRow {
                state: NONE.to_owned(),
                settings: "{}".to_owned(),
                task_id: None,
                ..row.clone()
            };
            tx.set_tuf_service(&row, &after).await?;
        }
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Signs online roles anew, though nothing in them changes: those named, or all.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-not-ready`.
    pub async fn renew_tuf_service(&self, desk: &ServiceDesk, body: &[u8]) -> Result<ServiceTask> {
        let request = strict(body)?;
        let asked = request::names(&request, "/roles")?;
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let task = self.task();
        let now = task.at.seconds();
        let settings = Settings::stored(&row.settings)?;
        let signer = self.service_signer(&row.key_source)?;
        let online = Key::of(signer.as_ref()).map_err(refused)?;
        let mut writer = self.tuf_writer(&repository_of(&desk.name)).await?;
        let wants = |role: &str| asked.is_empty() || asked.iter().any(|name| name == role);
        let roles: Vec<DelegatedRole> = custom(writer.repository().targets())
            .into_iter()
            .filter(|role| is_online(role, &online))
            .collect();
        let known = ["targets", "snapshot", "timestamp", "bins"];
        let unknown = asked.iter().find(|name| {
            !known.contains(&name.as_str()) && roles.iter().all(|role| role.name != **name)
        });
        if let Some(name) = unknown {
            let refusal = wrong(&format!("{name:?} is no online role"));
            writer.keep();
            return Err(refusal);
        }
        let mut targets = None;
        if wants("targets") {
            let top = writer.repository().targets().cloned();
            let document = Targets {
                version: writer.next_targets_version(),
                expires: now + settings.days("targets") * DAY,
                ..top
                    .ok_or_else(|| Error::internal("a service has no targets", desk.name.clone()))?
            };
            targets = Some(signed("targets", document, signer.as_ref())?);
        }
        let mut all = Vec::new();
        if wants("bins")
            && let Some(bins) = writer.repository().bins().cloned()
        {
            all = writer.all_bins(&self.inner.store, &bins).await?;
        }
        let mut contents = Vec::new();
        for role in roles.into_iter().filter(|role| wants(&role.name)) {
            let held = writer.role_contents(&self.inner.store, &role.name).await?;
            contents.push((role, held));
        }
        let prepared = writer.draft(now, Extra::default(), |draft| {
            if let Some(targets) = &targets {
                draft.targets(targets)?;
            }
            if wants("bins") {
                draft.renew_index();
            }
            for (name, held) in all {
                draft.bin(&name, held)?;
            }
            for (role, held) in contents {
                draft.sign_role(&role.name, held, days_of(&role) * DAY, &[signer.as_ref()])?;
            }
            Ok(())
        })?;
        let done = Done::new(
            "metadata_update",
            "Force new online metadata update succeeded.",
            json!({"roles": asked}),
        );
        let mut tx = self.inner.store.write().await?;
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.publish_tuf(&prepared.publication, task.at).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        Ok(task)
    }

    /// What came of a task: state and result. One that is not known may be on its way, as in RSTUF.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn tuf_service_task(&self, desk: &ServiceDesk, id: &str) -> Result<Value> {
        let row = self.inner.store.tuf_service_task(&desk.name, id).await?;
        match row {
            None => Ok(json!({"task_id": id, "state": "PENDING", "result": null})),
            Some(row) => {
                let result: Value = serde_json::from_str(&row.result)
                    .map_err(|source| Error::internal("a stored task is damaged", source))?;
                Ok(json!({"task_id": row.id, "state": row.state, "result": result}))
            }
        }
    }

    /// Signs delegated roles of services anew before they end, and forgets old tasks. Part of the chores; the rest of a
    /// service's repository is looked after as any other.
    ///
    /// # Errors
    /// Where a key is away or the database fails; each service is looked after, whatever happens to the others.
    pub(crate) async fn look_after_tuf_services(&self) -> Result<()> {
        let mut outcome = Ok(());
        for row in self.inner.store.tuf_services().await? {
            if row.state == FINISHED {
                let renewed = self.renew_service_roles(&row).await;
                outcome = outcome.and(renewed);
            }
        }
        let before = Time(self.now().0 - KEEP_TASKS * 1_000_000);
        let mut tx = self.inner.store.write().await?;
        tx.purge_tuf_tasks(before).await?;
        tx.commit().await?;
        outcome
    }

    async fn renew_service_roles(&self, row: &ServiceRow) -> Result<()> {
        let signer = self.service_signer(&row.key_source)?;
        let online = Key::of(signer.as_ref()).map_err(refused)?;
        let mut writer = self.tuf_writer(&repository_of(&row.name)).await?;
        let now = self.now().seconds();
        let due: Vec<DelegatedRole> = custom(writer.repository().targets())
            .into_iter()
            .filter(|role| is_online(role, &online))
            .filter(|role| {
                let standing = writer.repository().standings().get(role.name.as_str());
                let left = days_of(role) * DAY / 4;
                standing.is_none_or(|standing| standing.expires - left <= now)
            })
            .collect();
        if due.is_empty() {
            writer.keep();
            return Ok(());
        }
        let mut contents = Vec::new();
        for role in due {
            let held = writer.role_contents(&self.inner.store, &role.name).await?;
            contents.push((role, held));
        }
        let prepared = writer.draft(now, Extra::default(), |draft| {
            for (role, held) in contents {
                draft.sign_role(&role.name, held, days_of(&role) * DAY, &[signer.as_ref()])?;
            }
            Ok(())
        })?;
        self.publish_tuf_alone(writer, prepared).await
    }
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|source| Error::internal("TUF metadata is not UTF-8", source))
}

/// A refusal of what somebody sent: theirs to mend.
fn refused_request(source: Refusal) -> Error {
    Error::new(
        Kind::Rejected,
        "tuf-service-request",
        format!("What was sent is not taken: {source}."),
    )
    .remedy("Mend it and send it again; nothing was changed.")
}

fn nothing_pending(role: &str) -> Error {
    let shown: String = role.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "tuf-service-nothing-pending",
        format!("Nothing of the role {shown:?} waits for signatures."),
    )
    .remedy("`GET …/api/v1/metadata/sign` lists what does.")
}

impl Writer {
    /// Runs the repository by other terms from the next commit on, which must be published with them.
    pub(super) fn run_by(&mut self, terms: Terms, folder: &std::path::Path) -> Result<()> {
        self.state.online = std::sync::Arc::new(Online::open(&terms, folder)?);
        self.state.terms = terms;
        Ok(())
    }

    fn next_targets_version(&self) -> u64 {
        let targets = self.repository().targets();
        targets
            .map_or(0, |targets| targets.version)
            .saturating_add(1)
    }

    /// What a delegated role lists now.
    pub(super) async fn role_contents(&self, store: &Store, role: &str) -> Result<Contents> {
        let row = store.tuf_newest(&self.name, role).await?;
        row.map_or_else(
            || Ok(Contents::new()),
            |row| Ok(super::listed(role, &row.body)?.targets),
        )
    }
}
