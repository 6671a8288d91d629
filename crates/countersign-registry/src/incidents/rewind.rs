//! Rewinding: what one principal did in a time becomes a plan of what would take it back, and with `apply` each step of it is carried
//! out by the verb that an operator would use. A step looks at how things stand now, so that a rewind that broke off, or that comes
//! after somebody mended a part by hand, is simply run again.

use std::collections::BTreeMap;

use countersign_formats::{Ecosystem, purl};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Subject, TRACED, Window, unfit};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Kind, Result};
use crate::model::{
    AccountId, Actor, Cause, Membership, Order, Portion, ProjectId, ProjectStatus, Role, TeamId,
    TrustLevel,
};
use crate::policy;
use crate::store::{TraceRow, Tx};
use crate::trusted::PolicyChange;

/// How a step of a rewind stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// It would be done.
    Planned,
    /// It was done now.
    Done,
    /// Things stand that way already.
    Already,
    /// It was tried, and refused.
    Refused,
    /// No program can take it back; what a person can do is said.
    ByHand,
}

impl StepState {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Already => "already",
            Self::Refused => "refused",
            Self::ByHand => "by-hand",
        }
    }
}

/// One step of a rewind.
#[derive(Clone, Debug, Serialize)]
pub struct RewindStep {
    /// The event that it takes back: the first of its kind on its subject.
    pub event: String,
    /// What was done, and by it what is to be taken back.
    pub what: String,
    /// How it stands.
    pub state: StepState,
    /// Why it was refused, or what is left to do by hand.
    pub note: Option<String>,
}

/// A plan to take back what somebody did, or what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Rewind {
    /// Who.
    pub subject: String,
    /// The steps, in their order.
    pub steps: Vec<RewindStep>,
    /// There was more than could be listed; take a shorter time, and then the one before.
    pub more: bool,
}

impl Rewind {
    /// How many steps stand so.
    pub fn count(&self, state: StepState) -> usize {
        self.steps.iter().filter(|step| step.state == state).count()
    }
}

/// What takes something back.
enum Undo {
    Withhold(Place),
    ServeAgain(Place),
    Yank(Place, bool),
    Undeprecate(Place),
    RevokeToken(String),
    RemovePublisher(Place, String),
    RestorePublisher(Place, String),
    Role(Place, String, Option<Role>),
    Standing(String, String, Option<Membership>),
    Member(String, String, Membership, Vec<TeamId>),
    Policy(Place, PolicyChange),
    Tag(Place, String, Option<String>),
    Reactivate(Place),
    Visibility(Place, bool),
}

/// A project, and a version of it where one is meant.
struct Place {
    ecosystem: Ecosystem,
    key: String,
    version: Option<String>,
    filename: Option<String>,
}

impl Place {
    fn release(&self) -> String {
        match &self.version {
            Some(version) => format!("{}:{} {version}", self.ecosystem, self.key),
            None => format!("{}:{}", self.ecosystem, self.key),
        }
    }

    fn portion(&self) -> Portion<'_> {
        match (&self.filename, &self.version) {
            (Some(file), _) => Portion::File(file),
            (None, Some(version)) => Portion::Release(version),
            (None, None) => Portion::Project,
        }
    }
}

struct Planned {
    step: RewindStep,
    undo: Option<Undo>,
}

/// What changes nothing that lasts.
const INERT: &[&str] = &[
    "account-exported",
    "approval-asked",
    "approval-granted",
    "approval-refused",
    "approval-used",
    "appealed",
    "factor-locked",
    "frozen",
    "map-root",
    "notice-dismissed",
    "provenance-lost",
    "reported",
    "scanned",
    "sessions-ended",
    "signed-in",
    "signed-out",
    "staged",
    "stage-rejected",
    "stepped-up",
    "token-minted",
];

fn roles(value: &Value) -> Vec<Role> {
    let words = value.as_array().into_iter().flatten();
    words
        .filter_map(|word| word.as_str()?.parse().ok())
        .collect()
}

impl Registry {
    /// Lists what a person, a credential or a workflow did in a time, each with what takes it back; with `apply` it is taken back.
    /// Releases that were published are withheld; yanks and roles are put as they were before the first change; publishers and tokens that
    /// were made are ended; publishers and members that were removed are put back.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`, `subject-unknown`, `subject-unfit`, `text-length`. What a single step runs into is in the step.
    pub async fn rewind(
        &self,
        actor: &Actor,
        subject: &Subject,
        window: Window,
        reason: &str,
        apply: bool,
    ) -> Result<Rewind> {
        policy::may_operate(actor, "take back what somebody did")?;
        let reason = policy::words(reason, 1..=500, "A reason")?;
        if matches!(
            subject,
            Subject::Project(..) | Subject::Organisation(_) | Subject::Registry
        ) {
            return Err(unfit(subject, "name whose doings are taken back"));
        }
        let (mut rows, _) = self.traced(subject, window).await?;
        let more = rows.len() > TRACED;
        rows.truncate(TRACED);
        let mut plan = self.plan(&rows, window).await?;
        if apply {
            let now = self.now();
            let mut tx = self.inner.store.write().await?;
            let detail =
                json!({"subject": subject.to_string(), "reason": reason, "steps": plan.len()});
            tx.note_event(&new_id(), now, "rewound", actor, None, detail)
                .await?;
            tx.commit().await?;
            for planned in &mut plan {
                let (StepState::Planned, Some(undo)) = (planned.step.state, &planned.undo) else {
                    continue;
                };
                match self.undo(actor, undo, &reason).await {
                    Ok(()) => planned.step.state = StepState::Done,
                    // Where the database fails, the rest would too: it is run again later.
                    Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Internal) => {
                        return Err(error);
                    }
                    Err(error) => {
                        planned.step.state = StepState::Refused;
                        planned.step.note = Some(error.message);
                    }
                }
            }
            self.inner.beat.wake();
            self.wake_office();
        }
        Ok(Rewind {
            subject: subject.to_string(),
            steps: plan.into_iter().map(|planned| planned.step).collect(),
            more,
        })
    }

    /// One step for each subject and kind of change, by the first event of it: that knows how things stood before. What withholds comes
    /// first, and roles are given back before others are taken, so that no project is without an owner in between.
    async fn plan(&self, rows: &[TraceRow], window: Window) -> Result<Vec<Planned>> {
        let mut steps: BTreeMap<(u8, String), Planned> = BTreeMap::new();
        let mut tx = self.inner.store.write().await?;
        let told = || {
            let rows = rows.iter();
            rows.filter(|row| !INERT.contains(&row.kind.as_str()))
        };
        let last: BTreeMap<_, _> = told().map(|row| (turn(row, window), row)).collect();
        for row in told() {
            let at = turn(row, window);
            if steps.contains_key(&at) {
                continue;
            }
            let planned = self.planned(&mut tx, (row, last[&at]), window).await?;
            steps.insert(at, planned);
        }
        Ok(steps.into_values().collect())
    }

    /// What takes back all that began with `row`; `last` is the newest event of the same kind and subject.
    async fn planned(
        &self,
        tx: &mut Tx,
        (row, last): (&TraceRow, &TraceRow),
        window: Window,
    ) -> Result<Planned> {
        let now = self.now();
        let make =
            |what: String, state: StepState, note: Option<&str>, undo: Option<Undo>| Planned {
                step: RewindStep {
                    event: row.event.0.clone(),
                    what,
                    state,
                    note: note.map(str::to_owned),
                },
                undo,
            };
        let by_hand = |what: String, note: &str| make(what, StepState::ByHand, Some(note), None);
        let still = |open: bool| match open {
            true => StepState::Planned,
            false => StepState::Already,
        };
        let detail: Value = serde_json::from_str(&row.detail).unwrap_or_default();
        let word = |name: &str| detail[name].as_str().map(str::to_owned);
        // What belongs to no project.
        match row.kind.as_str() {
            "token-made" => {
                if let Some(id) = word("credential") {
                    let lives = tx.token_lives(&id, now).await?;
                    let what = format!("made the token {id}: revoke it");
                    return Ok(make(what, still(lives), None, Some(Undo::RevokeToken(id))));
                }
            }
            "standing-changed" | "joined" => {
                let organisation = word("organisation").unwrap_or_default();
                let name = tx.organisation_name(&organisation).await?;
                if let (Some(name), Some((account, Some(user)))) = (name, &row.account) {
                    let before: Option<Membership> =
                        word("before").and_then(|word| word.parse().ok());
                    let id = crate::model::OrganisationId(organisation);
                    let is = tx.standing(&id, account).await?;
                    let end: Value = serde_json::from_str(&last.detail).unwrap_or_default();
                    let to = before.map_or("no member", Membership::as_str);
                    let what = format!("changed the standing of {user} in {name}: {to} again");
                    if let (None, Some(before)) = (is, before) {
                        // Only a removal of those that are taken back: whoever left, or was removed by somebody else, stays away.
                        let removed = last.kind == "standing-changed"
                            && end["after"].is_null()
                            && last.actor_id.as_ref() != Some(&account.0);
                        let kind = "standing-changed";
                        if !removed || tx.changed_after(last, kind, Some(account), &id.0).await? {
                            return Ok(by_hand(
                                what,
                                "They left themselves, or were removed by somebody else: let an owner invite them; nobody is put back without a yes.",
                            ));
                        }
                        let teams: Vec<TeamId> =
                            serde_json::from_value(end["teams"].clone()).unwrap_or_default();
                        let what = format!("removed {user} from {name}: {} again", before.as_str());
                        let undo = Undo::Member(name, user.clone(), before, teams);
                        return Ok(make(what, StepState::Planned, None, Some(undo)));
                    }
                    let undo = Undo::Standing(name, user.clone(), before);
                    return Ok(make(what, still(is != before), None, Some(undo)));
                }
            }
            _ => {}
        }
        let Some((project, ecosystem, key, there)) = &row.project else {
            let what = format!("{} {}", row.kind, row.subject);
            return Ok(by_hand(
                what.trim().to_owned(),
                "Look at it and at its holder's account; it is not a project's.",
            ));
        };
        let named = purl::parse(&row.subject).ok();
        let place = Place {
            ecosystem: *ecosystem,
            key: key.clone(),
            version: named.as_ref().and_then(|named| named.version.clone()),
            filename: named.and_then(|named| named.filename),
        };
        let shown = place.release();
        if !there {
            let what = format!("{} {shown}", row.kind);
            return Ok(by_hand(
                what,
                "The project was deleted: its names stay taken, and its bytes are gone.",
            ));
        }
        let version = place.version.clone().unwrap_or_default();
        Ok(match row.kind.as_str() {
            "file-published" => {
                let place = whole_if_new(place, row, window);
                let stands = tx
                    .standing_of_release(project, &version, place.filename.as_deref())
                    .await?;
                let what = match &place.filename {
                    Some(file) => format!("published {file} to {shown}: withhold it"),
                    None => format!("published {shown}: withhold it"),
                };
                let open = stands.there && !stands.withheld;
                make(what, still(open), None, Some(Undo::Withhold(place)))
            }
            "yanked" | "unyanked" => {
                let stands = tx.standing_of_release(project, &version, None).await?;
                let yanked = row.kind == "unyanked";
                let what = match yanked {
                    true => format!("took back the yank of {shown}: yank it again"),
                    false => format!("yanked {shown}: take it back"),
                };
                let open = stands.there && stands.yanked != yanked;
                make(what, still(open), None, Some(Undo::Yank(place, yanked)))
            }
            "quarantined" | "released" => {
                let withheld = row.kind == "released";
                let what = match withheld {
                    true => format!("served {shown} again: withhold it"),
                    false => format!("withheld {shown}: serve it again"),
                };
                let is = match (&place.version, tx.curated_project(*ecosystem, key).await?) {
                    (None, Some(now)) => now.status == ProjectStatus::Quarantined,
                    (None, None) => withheld,
                    (Some(version), _) => {
                        let file = place.filename.as_deref();
                        tx.standing_of_release(project, version, file)
                            .await?
                            .withheld
                    }
                };
                let undo = match withheld {
                    true => Undo::Withhold(place),
                    false => Undo::ServeAgain(place),
                };
                make(what, still(is != withheld), None, Some(undo))
            }
            "deprecated" if place.version.is_some() && detail["message"].is_string() => {
                let what = format!("deprecated {shown}: take it back");
                make(
                    what,
                    StepState::Planned,
                    None,
                    Some(Undo::Undeprecate(place)),
                )
            }
            "owner-changed" | "role-changed" => {
                let before = roles(&detail["before"]);
                let wanted = before.first().copied();
                let Some((account, Some(user))) = &row.account else {
                    return Ok(by_hand(
                        format!("changed a role on {shown}"),
                        "Whose it was is not known any more.",
                    ));
                };
                let is: Vec<Role> = tx.roles_of(project, account).await?.iter().collect();
                let to = wanted.map_or("no role", Role::as_str);
                let what = format!("changed the roles of {user} on {shown}: {to} again");
                let own = tx.own_role(project, account).await?;
                if is.is_empty() == before.is_empty() && is.first() == before.first() {
                    make(what, StepState::Already, None, None)
                } else if own == wanted {
                    by_hand(
                        what,
                        "It comes through a team or an organisation: put its members right.",
                    )
                } else if wanted.is_none() && only_owner(tx, project, account).await? {
                    by_hand(
                        what,
                        "They are its only owner. Withhold the project, or give it another owner first.",
                    )
                } else {
                    make(
                        what,
                        StepState::Planned,
                        None,
                        Some(Undo::Role(place, user.clone(), wanted)),
                    )
                }
            }
            "publisher-changed" => {
                let id = word("publisher").unwrap_or_default();
                let stands = tx.standing_publisher(&id).await?;
                let label = stands.as_ref().map_or("", |(_, label)| label.as_str());
                if word("why").as_deref() == Some("removed") {
                    let gone = stands.as_ref().is_some_and(|(lives, _)| !*lives);
                    let what = format!("removed the publisher {label} of {shown}: put it back");
                    let kind = "publisher-changed";
                    if gone && tx.changed_after(last, kind, None, &id).await? {
                        by_hand(
                            what,
                            "It was put back, and removed by somebody else: let an owner register it again.",
                        )
                    } else {
                        let undo = Undo::RestorePublisher(place, id);
                        make(what, still(gone), None, Some(undo))
                    }
                } else if detail["why"].is_string() {
                    by_hand(
                        format!("ended the publisher {label} of {shown}"),
                        "Let an owner register it again.",
                    )
                } else {
                    let lives = stands.as_ref().is_some_and(|(lives, _)| *lives);
                    let what = format!("registered the publisher {label} of {shown}: remove it");
                    make(
                        what,
                        still(lives),
                        None,
                        Some(Undo::RemovePublisher(place, id)),
                    )
                }
            }
            "visibility-changed" => {
                let private = detail["private"].as_bool().unwrap_or_default();
                let what = match private {
                    true => format!("made {shown} private: public again"),
                    false => format!("made {shown} public: private again"),
                };
                let is = tx.curated_project(*ecosystem, key).await?;
                let open = is.is_some_and(|is| is.private.is_some() == private);
                make(
                    what,
                    still(open),
                    None,
                    Some(Undo::Visibility(place, !private)),
                )
            }
            "policy-changed" => {
                if let Some(tag) = word("tag") {
                    let before = word("before");
                    let to = before.as_deref().unwrap_or("nothing");
                    let what = format!("moved the tag {tag} of {shown}: to {to} again");
                    let (_, is) = tx.tag_facts(project, &tag).await?;
                    let undo = Undo::Tag(place, tag, before.clone());
                    make(what, still(is != before), None, Some(undo))
                } else if let Some(status) = word("status") {
                    let what = format!("made {shown} {status}: active again");
                    let is = tx.curated_project(*ecosystem, key).await?;
                    let open =
                        is.is_some_and(|is| is.status.as_str() == status && status != "active");
                    make(what, still(open), None, Some(Undo::Reactivate(place)))
                } else if detail["before"]["trusted_only"].is_boolean() {
                    let what = format!("changed the publishing policy of {shown}: as before again");
                    let before = &detail["before"];
                    let environment = before["environment"].as_str().map(str::to_owned);
                    let minimum: Option<TrustLevel> = before["minimum_trust"]
                        .as_str()
                        .and_then(|word| word.parse().ok());
                    let change = PolicyChange {
                        trusted_only: before["trusted_only"].as_bool(),
                        environment: Some(environment),
                        minimum_trust: minimum,
                    };
                    make(
                        what,
                        StepState::Planned,
                        None,
                        Some(Undo::Policy(place, change)),
                    )
                } else {
                    by_hand(
                        format!("changed a policy of {shown}: {detail}"),
                        "Look at the project's settings.",
                    )
                }
            }
            "deleted" => by_hand(
                format!("deleted {shown}"),
                "The bytes are gone and the name stays taken; let it be published under the next version.",
            ),
            "attestation-added" => by_hand(
                format!("added an attestation to {shown}"),
                "It stays, with its date; what it vouches for can be withheld.",
            ),
            other => by_hand(
                format!("{other} {shown}"),
                "Look at it; no rule here takes it back.",
            ),
        })
    }

    async fn undo(&self, actor: &Actor, undo: &Undo, reason: &str) -> Result<()> {
        let order = Order {
            reason,
            cause: Cause::Operator,
            freeze: false,
        };
        match undo {
            Undo::Withhold(place) => {
                self.withhold(actor, place.ecosystem, &place.key, place.portion(), order)
                    .await
            }
            Undo::ServeAgain(place) => {
                self.serve_again(actor, place.ecosystem, &place.key, place.portion())
                    .await
            }
            Undo::Yank(place, yank) => {
                let version = place.version.as_deref().unwrap_or_default();
                let (ecosystem, key) = (place.ecosystem, place.key.as_str());
                match yank {
                    true => self.yank(actor, ecosystem, key, version, reason).await,
                    false => self.unyank(actor, ecosystem, key, version).await,
                }
            }
            Undo::Undeprecate(place) => {
                let version = place.version.as_deref().unwrap_or_default();
                self.deprecate(actor, place.ecosystem, &place.key, version, None)
                    .await
            }
            Undo::RevokeToken(id) => self.revoke_token(actor, id, false).await,
            Undo::RemovePublisher(place, id) => {
                self.remove_publisher(actor, place.ecosystem, &place.key, id)
                    .await
            }
            Undo::RestorePublisher(place, id) => {
                self.restore_publisher(actor, place.ecosystem, &place.key, id)
                    .await
            }
            Undo::Member(organisation, user, standing, teams) => {
                self.restore_member(actor, organisation, user, *standing, teams)
                    .await
            }
            Undo::Role(place, user, role) => {
                self.set_role(actor, place.ecosystem, &place.key, user, *role)
                    .await
            }
            Undo::Standing(organisation, user, standing) => {
                self.set_standing(actor, organisation, user, *standing)
                    .await
            }
            Undo::Policy(place, change) => {
                self.set_project_policy(actor, place.ecosystem, &place.key, change.clone())
                    .await?;
                Ok(())
            }
            Undo::Tag(place, tag, Some(version)) => {
                self.set_dist_tag(actor, &place.key, tag, version).await
            }
            Undo::Tag(place, tag, None) => self.remove_dist_tag(actor, &place.key, tag).await,
            Undo::Reactivate(place) => {
                let active = ProjectStatus::Active;
                self.set_status(actor, place.ecosystem, &place.key, active, Some(reason))
                    .await
            }
            Undo::Visibility(place, private) => {
                self.set_private(actor, place.ecosystem, &place.key, *private)
                    .await
            }
        }
    }
}

/// A release that was made in this time falls whole; to an older one a file was only added.
fn whole_if_new(place: Place, row: &TraceRow, window: Window) -> Place {
    match row.release_made.is_some_and(|made| made >= window.since) {
        true => Place {
            filename: None,
            ..place
        },
        false => place,
    }
}

/// In which turn an event is taken back, and with which others it is one.
fn turn(row: &TraceRow, window: Window) -> (u8, String) {
    let detail: Value = serde_json::from_str(&row.detail).unwrap_or_default();
    let word = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
    let release = row.subject.split('?').next().unwrap_or_default().to_owned();
    let project = row.project.as_ref().map_or("", |(id, ..)| &id.0);
    let account = row.account.as_ref().map_or("", |(id, _)| &id.0);
    match row.kind.as_str() {
        "file-published" => match row.release_made.is_some_and(|made| made >= window.since) {
            true => (0, release),
            false => (0, row.subject.clone()),
        },
        "token-made" => (1, word("credential")),
        "publisher-changed" => (1, word("publisher")),
        "yanked" | "unyanked" => (2, format!("yank {}", row.subject)),
        "quarantined" | "released" => (2, format!("hold {}", row.subject)),
        "deprecated" => (2, format!("deprecate {}", row.subject)),
        "policy-changed" if detail["tag"].is_string() => {
            (3, format!("tag {project} {}", word("tag")))
        }
        "policy-changed" if detail["status"].is_string() => (3, format!("status {project}")),
        "policy-changed" if detail["before"].is_object() => (3, format!("policy {project}")),
        "visibility-changed" => (3, format!("visibility {project}")),
        "owner-changed" | "role-changed" => {
            let given = !roles(&detail["before"]).is_empty();
            (if given { 4 } else { 5 }, format!("{project} {account}"))
        }
        "standing-changed" | "joined" => (6, format!("{} {account}", word("organisation"))),
        _ => (7, row.event.0.clone()),
    }
}

async fn only_owner(tx: &mut Tx, project: &ProjectId, account: &AccountId) -> Result<bool> {
    let owners = tx.owner_accounts(project).await?;
    Ok(owners.iter().all(|owner| owner == account))
}
