//! Moderation: cases of what is withheld, whom they freeze, appeals, and reports with the rule that acts on them.
//!
//! What withholds is `curate`; here is what stands around it. A case is opened and closed in the transaction that withholds
//! or serves again, so that there is none without the other. A time that is over changes nothing but the queue: what is
//! withheld stays so until somebody decides.

use countersign_formats::{Ecosystem, NameKey, format, purl};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::fetch::unknown_project;
use crate::model::{
    AccountId, Actor, CallerOrigin, Case, Cause, FileId, Identity, Order, Portion, ProjectId,
    PublisherId, Report, ReportKind, ReporterFacts, Reporting,
};
use crate::policy::{self, Act, DeletionFacts};
use crate::settings::DeletePolicy;
use crate::store::{NewCase, NewReport, Tx};
use crate::texts::NoticeKind;

/// Reports that one network makes in ten minutes.
const REPORTS: i64 = 10;
/// Reports about one project that wait at one time; what comes beyond says nothing new. Trusted reporters are always heard.
const WAITING: u64 = 50;
/// Reports made by accounts younger than this, in seconds, do not count for the rule.
const SETTLED: i64 = 7 * 86_400;
/// Reports older than this, in seconds, do not count for the rule.
const REMEMBERED: i64 = 30 * 86_400;
/// So many yanks of one project within [`YANK_SPAN`] are a burst.
const YANKS: u64 = 5;
/// In seconds.
const YANK_SPAN: i64 = 600;
/// The longest report, appeal or answer, in bytes.
const WORDS: usize = 4_000;
/// At most so many cases, reports or reporters are listed.
const LISTED: u32 = 200;

fn unknown_case(id: &str) -> Error {
    let shown: String = id.chars().take(60).collect();
    Error::new(
        Kind::NotFound,
        "case-unknown",
        format!("There is no open case {shown:?} here."),
    )
    .remedy("The list of cases has their ids.")
}

fn unknown_report(ticket: &str) -> Error {
    let shown: String = ticket.chars().take(60).collect();
    Error::new(
        Kind::NotFound,
        "report-unknown",
        format!("There is no report with the ticket {shown:?} here."),
    )
    .remedy("Copy the ticket whole, as it was given.")
}

/// The case to open about what is withheld.
pub(crate) struct Opening<'a> {
    pub(crate) project: &'a ProjectId,
    pub(crate) subject: &'a str,
    pub(crate) version: &'a str,
    pub(crate) filename: &'a str,
    pub(crate) held: bool,
}

impl Registry {
    /// Opens the case of an order, and freezes whom it says. In the transaction that withholds.
    pub(crate) async fn open_case(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        about: &Opening<'_>,
        order: &Order<'_>,
        files: &[FileId],
    ) -> Result<()> {
        let now = self.now();
        let review = self.inner.settings.moderation.review;
        let span = i64::try_from(review.as_secs()).unwrap_or(i64::MAX);
        let case = tx
            .open_case(&NewCase {
                id: &new_id(),
                project: about.project,
                subject: about.subject,
                version: about.version,
                filename: about.filename,
                cause: order.cause.as_str(),
                reason: order.reason,
                held: about.held,
                now,
                review_by: now.plus_seconds(span),
            })
            .await?;
        if order.freeze {
            self.freeze_uploaders(tx, actor, &case, files).await?;
        }
        // Nobody could download what was never served.
        if order.cause.is_malware() && !about.held {
            let said = (about.subject, order.reason);
            self.advise_of_case(tx, actor, &case, about.project, said)
                .await?;
        }
        if !matches!(order.cause, Cause::Operator | Cause::Malware) {
            let data = [("subject", about.subject), ("why", order.reason)];
            self.notify_operators(tx, NoticeKind::CaseOpened, &data)
                .await?;
        }
        Ok(())
    }

    /// Ends the case about this very subject, and with it what it froze. In the transaction that serves again.
    pub(crate) async fn close_case(&self, tx: &mut Tx, actor: &Actor, subject: &str) -> Result<()> {
        let Some(case) = tx.case_about(subject).await? else {
            return Ok(());
        };
        tx.close_case(&case.id, "released", self.now()).await?;
        self.withdraw_advice_of_case(tx, actor, &case.id).await?;
        self.lift_freezes(tx, actor, &case.id).await
    }

    /// Ends the cases about what is deleted. Whom they froze stays so: deleting is no acquittal.
    pub(crate) async fn close_removed(
        &self,
        tx: &mut Tx,
        project: &ProjectId,
        version: Option<&str>,
        filename: Option<&str>,
    ) -> Result<()> {
        for id in tx.open_cases_in(project, version, filename).await? {
            tx.close_case(&id, "removed", self.now()).await?;
        }
        Ok(())
    }

    /// Freezes the accounts and workflows that published these files.
    async fn freeze_uploaders(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        case: &str,
        files: &[FileId],
    ) -> Result<()> {
        let now = self.now();
        let (accounts, publishers) = tx.uploaders_of(files).await?;
        for account in accounts {
            if matches!(&actor.identity, Identity::Account { id, .. } if *id == account) {
                continue;
            }
            tx.lock_account(&account).await?;
            let newly = tx.disable_account(&account, Some(now)).await?;
            // An account that somebody disabled for another reason is not this case's to open again.
            if !newly && !tx.is_frozen(&account).await? {
                continue;
            }
            tx.note_freeze(&new_id(), case, Some(&account), None, now)
                .await?;
            if newly {
                tx.forget_devices(&account, None).await?;
                tx.end_sessions(&account, None, "what it published is withheld", now)
                    .await?;
                self.tell_frozen(tx, actor, &account, true, case).await?;
            }
        }
        for publisher in publishers {
            tx.freeze_publisher(&publisher, Some(now)).await?;
            tx.note_freeze(&new_id(), case, None, Some(&publisher), now)
                .await?;
            self.note_publisher(tx, actor, "publisher-frozen", &publisher, case)
                .await?;
        }
        Ok(())
    }

    async fn lift_freezes(&self, tx: &mut Tx, actor: &Actor, case: &str) -> Result<()> {
        let (accounts, publishers) = tx.lift_freezes(case, self.now()).await?;
        for account in accounts {
            if tx.disable_account(&account, None).await? {
                self.tell_frozen(tx, actor, &account, false, case).await?;
            }
        }
        for publisher in publishers {
            if tx.freeze_publisher(&publisher, None).await? {
                self.note_publisher(tx, actor, "publisher-unfrozen", &publisher, case)
                    .await?;
            }
        }
        Ok(())
    }

    async fn tell_frozen(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        account: &AccountId,
        frozen: bool,
        case: &str,
    ) -> Result<()> {
        let (kind, what) = if frozen {
            (
                "account-disabled",
                "it was frozen, because something that it published is withheld",
            )
        } else {
            ("account-enabled", "it was opened again")
        };
        self.notify(
            tx,
            account,
            NoticeKind::OperatorActed,
            &[("what", what)],
            None,
        )
        .await?;
        let detail = json!({"case": case});
        tx.note_event(&new_id(), self.now(), kind, actor, Some(account), detail)
            .await
    }

    async fn note_publisher(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        kind: &str,
        publisher: &PublisherId,
        case: &str,
    ) -> Result<()> {
        let detail = json!({"case": case, "publisher": publisher.0});
        tx.note_event(&new_id(), self.now(), kind, actor, None, detail)
            .await
    }

    async fn notify_operators(
        &self,
        tx: &mut Tx,
        kind: NoticeKind,
        data: &[(&str, &str)],
    ) -> Result<()> {
        for operator in tx.operators().await? {
            self.notify(tx, &operator, kind, data, None).await?;
        }
        Ok(())
    }

    /// Everything that waits for an operator's decision: what is overdue first.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn open_cases(&self, actor: &Actor) -> Result<Vec<Case>> {
        policy::may_operate(actor, "list cases")?;
        self.inner.store.open_cases(LISTED).await
    }

    /// The cases of a project, newest first: for its owners and security contacts, and operators.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`.
    pub async fn cases_of(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
    ) -> Result<Vec<Case>> {
        let key = format(ecosystem).name_key(name)?;
        let project = {
            let mut tx = self.inner.store.write().await?;
            self.project_for_change(&mut tx, actor, ecosystem, &key, Act::SeeSettings)
                .await?
        };
        self.inner.store.cases_of(&project.id, LISTED).await
    }

    /// What the rules for deletion weigh about a project; nothing is asked where they weigh nothing.
    pub(crate) async fn deletion_facts(
        &self,
        tx: &mut Tx,
        project: &ProjectId,
    ) -> Result<DeletionFacts> {
        let DeletePolicy::Rules(rules) = self.inner.settings.delete else {
            return Ok(DeletionFacts::default());
        };
        let since = self.now().day() - i64::from(rules.days);
        let (downloads, dependents) = tx.deletion_facts(project, since).await?;
        Ok(DeletionFacts {
            downloads,
            dependents,
            owners: tx.owner_accounts(project).await?.len() as u64,
        })
    }

    /// What owners may delete here, in sentences: the rules that are enforced.
    pub fn deletion_policy(&self) -> Vec<String> {
        policy::deletion_in_words(self.inner.settings.delete)
    }

    /// Counts a yank against a burst: whoever yanks all good versions makes installers choose a bad one. At the limit owners and
    /// operators are told; beyond it only operators yank, until the burst is over.
    pub(crate) async fn count_yank(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &ProjectId,
        name: &str,
    ) -> Result<()> {
        if policy::operates(actor) {
            return Ok(());
        }
        let yanks = tx
            .yanks_since(project, self.now().plus_seconds(-YANK_SPAN))
            .await?;
        if yanks >= YANKS {
            return Err(Error::new(
                Kind::Limited,
                "yank-burst",
                format!("{YANKS} releases of {name} were yanked within ten minutes; no more are for now."),
            )
            .remedy("Wait ten minutes, or ask the operator of this registry. Taking a yank back is never limited."));
        }
        if yanks + 1 == YANKS {
            let data = [("project", name), ("who", actor.name())];
            self.notify_owners(tx, project, None, NoticeKind::YankBurst, &data)
                .await?;
            self.notify_operators(tx, NoticeKind::YankBurst, &data)
                .await?;
        }
        Ok(())
    }

    /// An owner, or a security contact, says why something should be served again. The operator is told, once until they answer: what
    /// is said meanwhile stands in its place.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `case-unknown`, `text-length`.
    pub async fn appeal(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        case: &str,
        text: &str,
    ) -> Result<()> {
        let text = policy::words(text, 10..=WORDS, "An appeal")?;
        let key = format(ecosystem).name_key(name)?;
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::Quarantine)
            .await?;
        let found = tx.case(case).await?;
        let Some((_, found)) =
            found.filter(|(of, case)| *of == project.id && case.closed.is_none())
        else {
            return Err(unknown_case(case));
        };
        let account = match &actor.identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        };
        let now = self.now();
        tx.appeal(&found.id, account, &text, now).await?;
        if found.appeal.is_none() || found.answer.is_some() {
            let data = [("subject", found.subject.as_str()), ("who", actor.name())];
            self.notify_operators(&mut tx, NoticeKind::CaseAppealed, &data)
                .await?;
        }
        let detail = json!({"case": found.id, "subject": found.subject});
        tx.note_event(&new_id(), now, "appealed", actor, account, detail)
            .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// An operator answers a case without serving anything again; to serve it again is `release_quarantine`.
    ///
    /// # Errors
    /// `operator-needed`, `case-unknown`, `text-length`.
    pub async fn answer_case(&self, actor: &Actor, case: &str, text: &str) -> Result<()> {
        policy::may_operate(actor, "answer cases")?;
        let text = policy::words(text, 2..=WORDS, "An answer")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let Some((project, found)) = tx
            .case(case)
            .await?
            .filter(|(_, case)| case.closed.is_none())
        else {
            return Err(unknown_case(case));
        };
        let span =
            i64::try_from(self.inner.settings.moderation.review.as_secs()).unwrap_or(i64::MAX);
        tx.answer_case(&found.id, &text, now, now.plus_seconds(span))
            .await?;
        let data = [
            ("subject", found.subject.as_str()),
            ("answer", text.as_str()),
        ];
        self.notify_owners(&mut tx, &project, None, NoticeKind::CaseAnswered, &data)
            .await?;
        let detail = json!({"case": found.id, "subject": found.subject});
        tx.note_event(&new_id(), now, "case-answered", actor, None, detail)
            .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Puts cases whose time is over in front of the operators. Part of the chores; nothing is served again by it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn look_after_cases(&self) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let overdue = tx.mark_overdue(now).await?;
        if overdue.is_empty() {
            return Ok(());
        }
        for (_, subject) in &overdue {
            let data = [("subject", subject.as_str())];
            self.notify_operators(&mut tx, NoticeKind::CaseOverdue, &data)
                .await?;
            let actor = Actor::system("moderation");
            tx.note_event(
                &new_id(),
                now,
                "case-overdue",
                &actor,
                None,
                json!({"subject": subject}),
            )
            .await?;
        }
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Takes a report about something here. Whoever reads it may report it; an account is not needed. Where the rule for
    /// reports says so, the project is withheld at once.
    ///
    /// # Errors
    /// `purl-invalid`, `project-unknown`, `report-evidence`, `text-length`, `too-many-attempts`, `reports-enough`.
    pub async fn report(
        &self,
        actor: &Actor,
        reporting: &Reporting<'_>,
        origin: &CallerOrigin,
    ) -> Result<Report> {
        let named = purl::parse(reporting.purl)?;
        let text = policy::words(reporting.text, 10..=WORDS, "A report")?;
        let evidence = evidence(reporting)?;
        self.count_asked("report", REPORTS, origin).await?;
        let (ecosystem, key) = (named.ecosystem, named.name_key.clone());
        // Whoever may not see it learns nothing from reporting it.
        let shown = self.shown_project(ecosystem, key.as_str()).await?;
        let project = self
            .inner
            .store
            .reported_project(ecosystem, key.as_str())
            .await?;
        let (Some(_), Some(project)) = (shown, project) else {
            return Err(unknown_project(key.as_str()));
        };
        let now = self.now();
        let account = match &actor.identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        };
        let ticket = new_id();
        let mut tx = self.inner.store.write().await?;
        let trusted = match account {
            Some(account) => tx.reporter(account).await?.0,
            None => None,
        };
        if trusted.is_none() && tx.reports_waiting(&project.id).await? >= WAITING {
            return Err(Error::new(
                Kind::Limited,
                "reports-enough",
                format!("{key} was reported {WAITING} times and more already; an operator will look at it."),
            )
            .remedy("There is nothing more to do. What is new in yours, send to the address in /.well-known/security.txt."));
        }
        tx.insert_report(&NewReport {
            ticket: &ticket,
            project: &project.id,
            subject: reporting.purl,
            kind: reporting.kind,
            evidence: &evidence,
            text: &text,
            account,
            trusted,
            now,
        })
        .await?;
        let detail =
            json!({"ticket": ticket, "subject": reporting.purl, "kind": reporting.kind.as_str()});
        tx.note_event(&new_id(), now, "reported", actor, account, detail)
            .await?;
        let since = tx
            .last_released(&project.id)
            .await?
            .map_or(now.plus_seconds(-REMEMBERED), |at| {
                at.max(now.plus_seconds(-REMEMBERED))
            });
        let (trusted, observers) = tx
            .malware_observers(&project.id, since, now.plus_seconds(-SETTLED))
            .await?;
        let data = [
            ("subject", reporting.purl),
            ("kind", reporting.kind.as_str()),
        ];
        self.notify_operators(&mut tx, NoticeKind::Reported, &data)
            .await?;
        tx.commit().await?;
        self.wake_office();
        let facts = policy::Reported {
            created: project.created,
            critical: project.critical,
            trusted,
            observers,
        };
        if reporting.kind == ReportKind::Malware
            && policy::reports_withhold(&self.inner.settings.moderation.reports, &facts, now)
        {
            self.withhold_reported(ecosystem, &key).await?;
        }
        self.inner
            .store
            .report(&ticket)
            .await?
            .ok_or_else(|| unknown_report(&ticket))
    }

    /// Withholds what the rule for reports withholds. Whoever did so already, or took it away, was first.
    async fn withhold_reported(&self, ecosystem: Ecosystem, key: &NameKey) -> Result<()> {
        let order = Order {
            reason: "reported as malware; under review",
            cause: Cause::Reports,
            freeze: self.inner.settings.moderation.freeze,
        };
        let actor = Actor::system("reports");
        let done = self
            .withhold(&actor, ecosystem, key.as_str(), Portion::Project, order)
            .await;
        match done {
            Err(error) if error.code == "project-unknown" => Ok(()),
            other => other,
        }
    }

    /// A report by its ticket.
    ///
    /// # Errors
    /// `report-unknown`.
    pub async fn report_state(&self, ticket: &str) -> Result<Report> {
        self.inner
            .store
            .report(ticket)
            .await?
            .ok_or_else(|| unknown_report(ticket))
    }

    /// Reports that wait, those of trusted reporters first.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn open_reports(&self, actor: &Actor) -> Result<Vec<Report>> {
        policy::may_operate(actor, "list reports")?;
        self.inner.store.open_reports(LISTED).await
    }

    /// Who reports, and how it turned out.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn reporters(&self, actor: &Actor) -> Result<Vec<ReporterFacts>> {
        policy::may_operate(actor, "list reporters")?;
        self.inner.store.reporters(LISTED).await
    }

    /// Judges a report: `confirmed`, `unfounded` or `duplicate`. It withholds nothing by itself.
    ///
    /// # Errors
    /// `operator-needed`, `report-unknown`, `report-verdict`, `text-length`.
    pub async fn judge_report(
        &self,
        actor: &Actor,
        ticket: &str,
        verdict: &str,
        answer: &str,
    ) -> Result<()> {
        policy::may_operate(actor, "judge reports")?;
        if !["confirmed", "unfounded", "duplicate"].contains(&verdict) {
            let shown: String = verdict.chars().take(40).collect();
            return Err(Error::new(
                Kind::Rejected,
                "report-verdict",
                format!("{shown:?} is no verdict on a report."),
            )
            .remedy("Use confirmed, unfounded or duplicate."));
        }
        let answer = policy::words(answer, 0..=WORDS, "An answer")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let Some((_, reporter)) = tx.judge_report(ticket, verdict, &answer, now).await? else {
            return Err(unknown_report(ticket));
        };
        if let Some(reporter) = &reporter {
            let data = [
                ("ticket", ticket),
                ("verdict", verdict),
                ("answer", &answer),
            ];
            self.notify(&mut tx, reporter, NoticeKind::ReportJudged, &data, None)
                .await?;
        }
        let detail = json!({"ticket": ticket, "verdict": verdict});
        tx.note_event(
            &new_id(),
            now,
            "report-judged",
            actor,
            reporter.as_ref(),
            detail,
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Trusts somebody's reports of malware, or no more.
    ///
    /// # Errors
    /// `operator-needed`, `user-unknown`.
    pub async fn trust_reporter(&self, actor: &Actor, user: &str, trusted: bool) -> Result<()> {
        policy::may_operate(actor, "name trusted reporters")?;
        let account = self.account(user).await?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        if tx.trust_reporter(&account, trusted.then_some(now)).await? {
            let kind = if trusted {
                "reporter-trusted"
            } else {
                "reporter-distrusted"
            };
            tx.note_event(&new_id(), now, kind, actor, Some(&account), json!({}))
                .await?;
        }
        tx.commit().await
    }
}

/// Reads the address of the evidence. A report of malware says where it can be seen.
fn evidence(reporting: &Reporting<'_>) -> Result<String> {
    let refuse = |why: &str| {
        Err(Error::new(
            Kind::Rejected,
            "report-evidence",
            format!("The evidence {why}."),
        )
        .remedy("Give an https:// address where it can be seen: a line of the code, an analysis, an issue."))
    };
    let text = reporting.evidence.trim();
    if text.is_empty() {
        return match reporting.kind {
            ReportKind::Malware => refuse("is missing, and a report of malware needs some"),
            _ => Ok(String::new()),
        };
    }
    match url::Url::parse(text) {
        Ok(url) if url.scheme() == "https" && text.len() <= 500 => Ok(url.to_string()),
        _ => refuse("is no https:// address of at most 500 bytes"),
    }
}
