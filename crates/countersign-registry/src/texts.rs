//! Every sentence that goes to people by mail or as a notice, in one place, so that it can be translated. Pure.
//!
//! Braces are filled from the data of the notice or mail; the data never holds a secret.

use std::collections::BTreeMap;

/// What fills the braces of a text.
pub(crate) type Data = BTreeMap<String, String>;

/// A notice in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wording {
    /// One line.
    pub(crate) title: String,
    /// What happened.
    pub(crate) what: String,
    /// What to do if it was not you.
    pub(crate) advice: String,
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident; $($(#[$item:meta])* $variant:ident $word:literal $title:literal $what:literal $advice:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $title] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stored word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The kind with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }

            /// Title, what, advice: still with braces.
            fn patterns(self) -> (&'static str, &'static str, &'static str) {
                match self { $(Self::$variant => ($title, $what, $advice),)* }
            }
        }
    };
}

const FACTORS: &str = "If it was not you, somebody else can act as you. Open the security page, end all sessions, remove what you do not know, revoke all tokens, and tell the operator of this registry.";
const SIGNED_IN: &str = "If it was not you, open the security page now, end that session, and change your password if you have one. With a passkey nobody can sign in by tricking you out of a password.";
const TRIED: &str = "If it was not you, somebody tries to get in. Nothing was lost. Use a passkey: it can not be guessed.";
const TOKENS: &str = "If it was not you, revoke the token on the security page, then look at what was published with it.";
const ROLES: &str = "If this is not right, ask the other owners, or the operator of this registry.";
const PROJECT: &str = "If it was not one of the owners, look at the project's history and its people, and quarantine what should not be there.";
const RECOVERY: &str = "If it was not you, stop it: by the link in this mail, or on the security page. Nothing is given out before the waiting time has passed.";

kinds! {
    /// What an account is told of.
    NoticeKind;
    PasskeyAdded "passkey-added" "A passkey was added" "The passkey {label} was added to your account. It can be used to sign in." FACTORS;
    PasskeyRemoved "passkey-removed" "A passkey was removed" "The passkey {label} was removed from your account." FACTORS;
    PasskeyCloned "passkey-cloned" "A passkey may have been copied" "The counter of the passkey {label} went backwards, as it does when there is a copy of it. It is locked." "Remove that passkey, register another one, and look at your sessions and at what was published since.";
    SecurityKeyAdded "security-key-added" "A security key was added" "The security key {label} was added to your account as a second factor." FACTORS;
    SecurityKeyRemoved "security-key-removed" "A security key was removed" "The security key {label} was removed from your account." FACTORS;
    TotpAdded "totp-added" "Codes by app were switched on" "An app that makes one-time codes was added to your account." FACTORS;
    TotpRemoved "totp-removed" "Codes by app were switched off" "The app that makes one-time codes was removed from your account." FACTORS;
    FactorLocked "factor-locked" "A factor was locked for a time" "After {count} wrong attempts in a row, {factor} of your account is locked until {until}. Your other ways to sign in still work." TRIED;
    RecoveryCodesMade "recovery-codes-made" "New recovery codes were made" "New recovery codes were made for your account. The old ones no longer work." FACTORS;
    RecoveryCodeUsed "recovery-code-used" "A recovery code was used" "Somebody signed in to your account with a recovery code. {left} are left." SIGNED_IN;
    PasswordSet "password-set" "Your password was changed" "The password of your account was changed, and all other sessions were ended." FACTORS;
    PasswordRemoved "password-removed" "Your password was removed" "Your account no longer has a password." FACTORS;
    PasswordBreached "password-breached" "Your password is known to attackers" "The password of your account stands in a collection of stolen passwords. It must be changed before it is used again." "Choose another one that you use nowhere else, or better a passkey.";
    NewDevice "new-device" "A sign-in from a new device" "Somebody signed in to your account from a device or network that was not seen before." SIGNED_IN;
    SessionsEnded "sessions-ended" "Your sessions were ended" "Sessions of your account were ended: {why}." SIGNED_IN;
    IdentityLinked "identity-linked" "A way to sign in was linked" "Your account can now be used by signing in at {provider}." FACTORS;
    IdentityUnlinked "identity-unlinked" "A way to sign in was unlinked" "Your account can no longer be used by signing in at {provider}." FACTORS;
    FactorDemanded "factor-demanded" "Your account needs a stronger way to sign in" "{why} Until then: {until}." "Add a passkey on the security page.";
    AddressAdded "address-added" "An e-mail address was added" "The address {address} was added to your account." FACTORS;
    AddressRemoved "address-removed" "An e-mail address was removed" "The address {address} was removed from your account." FACTORS;
    AddressPrimary "address-primary" "Your main e-mail address was changed" "The main address of your account is now {address}; it was {before}." FACTORS;
    AddressTaken "address-taken" "Somebody else proved one of your addresses" "The address {address} was on your account without being verified. Another account has verified it, so it was removed from yours." "If the address is yours, somebody else can read its mail. Change its password.";
    AddressAbandoned "address-abandoned" "An e-mail address is no longer safe" "The domain of {address} seems to be abandoned or to have a new holder: {why}. The address can no longer be used to get back into your account." "Add another address on the security page and remove this one.";
    TokenMade "token-made" "A token was made" "The API token {label} ({hint}) was made for your account. It ends {expires}." TOKENS;
    TokenRevoked "token-revoked" "A token was revoked" "The API token {label} ({hint}) was revoked." TOKENS;
    TokenLeaked "token-leaked" "A leaked token was revoked" "The API token {label} ({hint}) was found where others can read it ({where}), reported by {reporter}, and revoked at once. It was last used {used}." "Look at what was published since the token was made, remove the token from where it was found, and publish from a workflow without any token.";
    WorkflowTokenLeaked "workflow-token-leaked" "A leaked token of a workflow was revoked" "A minted token ({hint}) of the workflow {workflow}, which publishes {projects}, was found where others can read it ({where}), reported by {reporter}, and revoked at once." "Look at what was published in that run, and at which step of the workflow writes the token out.";
    RoleGiven "role-given" "You were given a role" "You are now {role} of {project}." ROLES;
    RoleTaken "role-taken" "A role of yours ended" "You are no longer {role} of {project}." ROLES;
    PeopleChanged "people-changed" "The people of a project changed" "{who}: {before} → {after}, on {project}." PROJECT;
    Staged "staged" "A version waits for your approval" "{who} staged version {version} of {project}." PROJECT;
    PublisherAdded "publisher-added" "A trusted publisher was added" "{publisher} may now publish {project} without a token." PROJECT;
    PublisherRemoved "publisher-removed" "A trusted publisher was removed" "{publisher} may no longer publish {project}." PROJECT;
    PolicyChanged "policy-changed" "A policy of a project was changed" "The publishing policy of {project} was changed: {change}." PROJECT;
    WeakerPublish "weaker-publish" "A publication with a weaker credential than usual" "{who} published {project} with an API token, though it has a trusted publisher." "If none of you did, quarantine the release and revoke the token. If you did, publish from the workflow and refuse tokens in the project's settings.";
    ProvenanceLost "provenance-lost" "A publication with less behind it than before" "{what} {who} published {project} all the same: an owner approved it, or this registry only warns of such a loss." "If none of you did, quarantine the release. If you did, publish as before, or open an exception first.";
    EnvironmentNotRequired "environment-not-required" "A publisher requires no environment" "The publisher {publisher} of {project} requires no environment, and its job ran in {environment}." "Register it with that environment, then remove the one without: no other job of the repository can publish then.";
    ProjectWithheld "project-withheld" "Something of yours is withheld" "{subject} is withheld: {why}." "Among your projects, “Withheld and found” tells more; object there if it is wrong.";
    CaseOpened "case-opened" "Something was withheld by a rule" "{subject} is withheld: {why}." "Look at it in the operator's queue, and serve it again or delete it.";
    CaseOverdue "case-overdue" "A case waits too long" "{subject} is withheld, and nobody has decided about it in time." "It stays withheld. Look at it in the operator's queue.";
    CaseAppealed "case-appealed" "Somebody objects to a quarantine" "{who} asks to serve {subject} again." "Read it in the operator's queue, and answer.";
    CaseAnswered "case-answered" "The operator answered about something withheld" "About {subject}: “{answer}”." "Among your projects, “Withheld and found” has the whole case; object there again if it is wrong.";
    Reported "reported" "Something was reported" "{subject} was reported: {kind}." "Look at it in the operator's queue.";
    ReportJudged "report-judged" "Your report was looked at" "The report {ticket} was found {verdict}; the operator's answer: “{answer}”." "There is nothing to do.";
    Frozen "frozen" "Something of yours is frozen" "{what} takes no changes for now: {why}. What is published is served as before." "Ask the operator of this registry.";
    Unfrozen "unfrozen" "Something of yours is no longer frozen" "{what} takes changes again." "There is nothing to do.";
    CredentialsEnded "credentials-ended" "Tokens and sessions of yours were ended" "The operator of this registry ended credentials of your account; API tokens: {tokens}, sessions: {sessions}. The reason: {why}." "Sign in again, look at what was published in your name, and make new tokens only where a workflow can not publish without one.";
    YankBurst "yank-burst" "Many releases were yanked at once" "{who} yanked many releases of {project} within minutes. Whoever installs it now may get one that was left." "If none of you did, quarantine the project, end the sessions and tokens of that account, and take the yanks back.";
    ProjectDeleted "project-deleted" "Something was deleted" "{subject} was deleted by {who}." PROJECT;
    InvitationReceived "invitation-received" "You are invited" "{who} invites you to be {role} of {organisation}." "If you do not know them, let it lapse: without your yes nothing happens.";
    OrganisationJoined "organisation-joined" "The members of an organisation changed" "{who} is now {role} of {organisation}." ROLES;
    OrganisationLeft "organisation-left" "The members of an organisation changed" "{who} is no longer a member of {organisation}." ROLES;
    RemovalAsked "removal-asked" "Somebody wants to remove an owner" "{who} asks to remove {target} as owner of {project}. It takes effect when a second owner agrees, or {until}." ROLES;
    TransferAsked "transfer-asked" "A transfer was begun" "{who} wants to hand {project} over to {target}. It takes effect {until}, unless an owner cancels it." ROLES;
    TransferStopped "transfer-stopped" "A transfer was cancelled" "The transfer of {project} to {target} was cancelled by {who}." ROLES;
    TransferDone "transfer-done" "A transfer took effect" "{project} now belongs to {target}." ROLES;
    ApprovalAsked "approval-asked" "Something waits for your approval" "{who} asks to {act} {purl}." "If you do not know why, refuse it.";
    ApprovalGranted "approval-granted" "You approved something" "With your passkey you approved to {act} {purl}." FACTORS;
    RecoveryBegun "recovery-begun" "Somebody wants to get back into your account" "Somebody who can read the mail of {address} asked to recover your account. After two proofs and a waiting time of {hours} hours they could register a new passkey." RECOVERY;
    RecoveryWaits "recovery-waits" "The recovery of your account waits" "Two proofs were given. Unless somebody stops it, the account can be taken over with a new passkey from {until} on." RECOVERY;
    RecoveryOther "recovery-other" "The account of a co-owner is being recovered" "Somebody is recovering the account {user}, which owns {project} with you. It opens {until}. Ask {user} by another way whether it is really them." "If it is not them, stop it by the link in this mail.";
    RecoveryStopped "recovery-stopped" "A recovery was stopped" "The recovery of the account {user} was stopped: {why}." "If you began it, begin again and tell the others first.";
    RecoveryDone "recovery-done" "Your account was recovered" "Your account was opened again by recovery. All tokens, sessions and older ways to sign in have ended. For {days} days it can not delete, hand over, or make tokens." FACTORS;
    DownloadedMalware "downloaded-malware" "Something that you downloaded does harm" "You downloaded {releases}, which is now known to have been made to do harm: {advisory}." "Remove it wherever it was installed, and take every secret that could be read there for stolen: replace it. The advisory's page says more.";
    OperatorActed "operator-acted" "The operator changed your account" "The operator of this registry changed your account: {what}." "Ask the operator if you do not know why.";
}

kinds! {
    /// A mail with a link that does something, or a notice by mail.
    MailKind;
    Notice "notice" "{title}" "{what}" "{advice}";
    VerifyAddress "verify-address" "Is this your address?" "The account {user} at {site} gave this as its address. Open the link to say that this is right." "If you know nothing of it, do nothing: without the link the address is not used.";
    AddressInUse "address-in-use" "Your address is in use already" "Somebody, perhaps you, tried to use this address at {site}. It belongs to an account already, so nothing was done." "If it was you, sign in with the account that you have. If not, there is nothing to do.";
    NoPassword "no-password" "There is no password to change" "Somebody, perhaps you, asked for a new password for the account {user} at {site}. It has none: it is signed in to with a passkey or by a provider, and nothing was changed." "If it was you and you have lost those, begin a recovery on the sign-in page. If not, there is nothing to do.";
    PasswordReset "password-reset" "Choose a new password" "Somebody, perhaps you, asked for a new password for the account {user} at {site}. The link changes the password only: your second factor is asked for as ever." "If it was not you, do nothing: the password stays as it is.";
    Enrol "enrol" "Welcome" "Open the link to set up the account {user} at {site}." "If you know nothing of it, do nothing: the account lapses.";
    Invitation "invitation" "You are invited" "{who} invites you to be {role} of {organisation} at {site}. The link is good for you alone, once." "If you do not know them, do nothing.";
    RecoveryBegin "recovery-begin" "Getting back into your account" "Somebody, perhaps you, asked to recover the account {user} at {site}. The link is the first of two proofs." "If it was not you, do nothing: the link lapses within the hour.";
    RecoveryProof "recovery-proof" "A second proof for getting back in" "This link is the second proof for recovering the account {user} at {site}." "If it was not you who asked, stop the recovery by the link in the other mail that you were sent.";
    RecoveryStop "recovery-stop" "{title}" "{what}" "{advice}";
    RecoveryReady "recovery-ready" "Your account can be opened again" "The waiting time for the account {user} at {site} is over. The link lets you register a new passkey." "If it was not you who asked, tell the operator of this registry now.";
}

/// What a mail's link says, and below which page of the site it leads; `None` for mails without one.
pub(crate) fn link_of(kind: MailKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        MailKind::Notice | MailKind::AddressInUse | MailKind::NoPassword => return None,
        MailKind::VerifyAddress => ("Yes, this is my address", "/account/verify-address"),
        MailKind::PasswordReset => ("Choose a new password", "/account/reset-password"),
        MailKind::Enrol => ("Set up the account", "/enrol"),
        MailKind::Invitation => ("Look at the invitation", "/invitation"),
        MailKind::RecoveryBegin => ("Begin the recovery", "/recovery/begin"),
        MailKind::RecoveryProof => ("Give this proof", "/recovery/proof"),
        MailKind::RecoveryStop => ("Stop this recovery", "/recovery/stop"),
        MailKind::RecoveryReady => ("Register a new passkey", "/recovery/finish"),
    })
}

/// How long the link of a mail is good, in seconds.
pub(crate) fn life_of(kind: MailKind) -> i64 {
    match kind {
        MailKind::PasswordReset | MailKind::RecoveryBegin => 3_600,
        MailKind::Invitation | MailKind::Enrol | MailKind::RecoveryReady => 7 * 86_400,
        MailKind::RecoveryStop => 10 * 86_400,
        _ => 6 * 3_600,
    }
}

impl NoticeKind {
    /// The notice in words.
    pub(crate) fn wording(self, data: &Data) -> Wording {
        wording(self.patterns(), data)
    }
}

impl MailKind {
    /// The mail in words.
    pub(crate) fn wording(self, data: &Data) -> Wording {
        wording(self.patterns(), data)
    }
}

fn wording((title, what, advice): (&str, &str, &str), data: &Data) -> Wording {
    Wording {
        title: filled(title, data),
        what: filled(what, data),
        advice: filled(advice, data),
    }
}

/// Fills braces. What is not known is a dash; what fills them is never looked at for further braces.
fn filled(pattern: &str, data: &Data) -> String {
    let mut text = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = data.get(name).map_or("–", String::as_str);
        text.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The parts of every mail around its own sentences.
pub(crate) const WHEN: &str = "When";
/// Where a request came from.
pub(crate) const FROM: &str = "From";
/// Before the link to the security page.
pub(crate) const SECURITY: &str = "Your security page";
/// Under every mail.
pub(crate) const FOOTER: &str =
    "This registry never asks for a password, a code or a token by mail.";
/// Before how long a link is good.
pub(crate) const GOOD_UNTIL: &str = "The link is good once, until";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_whole_and_its_words_lead_back_to_it() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::from_word(kind.as_str()), Some(*kind));
            let (title, what, advice) = kind.patterns();
            for text in [title, what, advice] {
                assert_eq!(text.matches('{').count(), text.matches('}').count());
                assert!(!text.trim().is_empty(), "{kind:?}");
            }
            assert!(
                !title.ends_with('.') && what.ends_with(['.', '!']),
                "{kind:?}"
            );
        }
        for kind in MailKind::ALL {
            assert_eq!(MailKind::from_word(kind.as_str()), Some(*kind));
        }
    }

    #[test]
    fn what_fills_a_text_can_neither_break_the_line_nor_fill_further() {
        let data = Data::from([("label".to_owned(), "a\r\nBcc: x {hint}".to_owned())]);
        let wording = NoticeKind::TokenMade.wording(&data);
        assert!(
            wording.what.contains("a  Bcc: x {hint}"),
            "{}",
            wording.what
        );
        assert!(!wording.what.contains('\n') && wording.what.contains('–'));
    }
}
