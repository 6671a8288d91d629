//! Sentences that code chooses; those that a page always says stand in its template.

use countersign_formats::Ecosystem;

/// Leads from the summary of what went wrong to the field.
pub(super) const TO_THE_FIELD: &str = "Go to the field";

/// Before the title of a page that says what went wrong.
pub(super) const FAULT: &str = "Not done: ";

/// After proving it again, where what was typed holds a secret and is not kept.
pub(super) const TYPE_AGAIN: &str =
    "Thank you. Passwords and codes are never kept, so type them once more.";

/// Grants an approval.
pub(super) const APPROVE: &str = "Approve with a passkey";

/// Follows it where the act was asked for a moment ago and is done at once.
pub(super) const AND_DO_IT: &str = "and do it";

/// On the page that asks to prove it again, where something waits for it.
pub(super) const HELD: &str = "What you just sent is kept for five minutes and is done then.";

/// An ecosystem in a word, as people call it.
pub(super) fn ecosystem(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Pypi => "Python",
        Ecosystem::Cargo => "Rust",
        Ecosystem::Npm => "npm",
    }
}

/// What a project of it is called.
pub(super) fn project(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Pypi => "Python project",
        Ecosystem::Cargo => "Rust crate",
        Ecosystem::Npm => "npm package",
    }
}

/// What was done, by the word in the address that a form leads back to.
pub(super) fn done(word: &str) -> Option<&'static str> {
    Some(match word {
        "appealed" => "The operator is told, and answers you.",
        "answered" => "Its people are told.",
        "incident-opened" => "The incident is open.",
        "incident-updated" => "It is noted, and shown wherever the incident is.",
        "name-prohibited" => "Nobody but an operator takes that name any more.",
        "name-permitted" => "The name is prohibited no longer.",
        "name-reserved" => "It is reserved for them.",
        "exempted" => "It is served all the same; everybody sees why.",
        "exemption-ended" => "The exemption has ended: the advisory counts again.",
        "downloaders-told" => "Everybody whom it concerns is told, each once.",
        "frozen" => "It takes no changes any more, until you end that.",
        "unfrozen" => "It takes changes again.",
        "dismissed" => "The findings are put aside.",
        "judged" => "The report is judged, and its reporter told.",
        "reporter-set" => "It is noted.",
        "signed-out" => "You are signed out.",
        "confirmed" => "Thank you. For a quarter of an hour you will not be asked again.",
        "password-set" => "The password is set. Your other sessions have ended.",
        "password-removed" => "The password is gone. You sign in with passkeys only.",
        "passkey-added" => "The passkey is yours now. Try it at your next sign-in.",
        "factor-removed" => "It is removed. Your other sessions have ended.",
        "renamed" => "It has its new name.",
        "totp-on" => "Your app is set up. From now on its code is asked after your password.",
        "address-added" => "A mail with a link is on its way to the new address.",
        "address-verified" => "The address is yours.",
        "address-removed" => "The address is removed.",
        "address-primary" => "Notices go to that address first now.",
        "mail-sent" => "A mail is on its way.",
        "session-ended" => "That session has ended.",
        "sessions-ended" => "All your other sessions have ended.",
        "exception-opened" => "It is open. Every owner is told, and everybody can see it.",
        "move-declared" => "It is declared. Every owner is told, and everybody can see it.",
        "change-confirmed" => "Confirmed: it holds from now on.",
        "change-closed" => {
            "It is closed. From now on files are held against what the project is remembered for."
        }
        "identity-trusted" => {
            "Attestations of this identity are taken with API tokens from now on."
        }
        "identity-distrusted" => "Its attestations are taken with API tokens no longer.",
        "notice-seen" => "The notice is put away.",
        "token-revoked" => "The token is revoked, with effect at once.",
        "role-set" => "The role is set.",
        "role-removed" => "The role is taken away.",
        "publisher-added" => "The publisher is registered. Its next run can publish.",
        "publisher-removed" => "The publisher is removed; what it was given has ended.",
        "policy-set" => "The policy is set.",
        "status-set" => "The status is set.",
        "made-private" => {
            "It is private: for everybody without a role on it, it is not there. The log keeps its name, versions and digests."
        }
        "made-public" => "It is public: everybody who may read this registry sees it.",
        "withheld" => "It is withheld, with effect at once.",
        "released" => "It is served again.",
        "deleted" => "It is gone. Its names stay taken.",
        "invited" => "The invitation is on its way.",
        "invitation-ended" => "The invitation has ended.",
        "accepted" => "You are a member now.",
        "declined" => "You declined.",
        "member-set" => "The standing is set.",
        "member-removed" => "They are a member no longer; what came with it has ended.",
        "left" => "You have left.",
        "team-made" => "The team is made.",
        "team-removed" => "The team is gone, and the roles it had with it.",
        "team-changed" => "The team is changed.",
        "asked" => "It is asked for. Everybody whom it concerns is told.",
        "confirmed-request" => "You agreed; it has taken effect.",
        "cancelled" => "It is cancelled.",
        "approved" => "Granted: for exactly this, once, for two minutes.",
        "refused" => "Refused.",
        "staged-approved" => "Approved: it is published.",
        "staged-rejected" => "Rejected: it will not be published.",
        "linked" => "You can sign in that way too now.",
        "unlinked" => "That way to sign in is gone.",
        "user-made" => "The account is made.",
        "user-disabled" => "The account is disabled, with all its sessions and tokens.",
        "user-enabled" => "The account is open again.",
        "issuer-added" => "The issuer is admitted.",
        "issuer-removed" => "The issuer is admitted no longer.",
        "factors-set" => "The rule is set.",
        "critical-set" => "The mark is set.",
        "erased" => "Your account is erased. What you published stays, without your name.",
        _ => return None,
    })
}
