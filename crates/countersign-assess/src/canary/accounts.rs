//! Accounts: addresses, factors, guessing, passwords, passkeys.

use sha1::Digest as _;

use super::doors::{PASSWORD, Visitor, between, came_in, link, secret_of};
use super::software;
use crate::script::{Script, Stop, Told, World};

/// Wrong attempts after which nobody may go on.
const ATTEMPTS: usize = 25;

pub(super) fn addresses_are_proven(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    let link = ann.ask_for_account(script)?;
    if !script.hold(
        "making an account sends a link to its address",
        link.is_some(),
    ) {
        return Ok(());
    }
    let account = ann.elsewhere(91).get(script, "/account")?;
    script.hold(
        "before the link was used nobody is signed in",
        !account.good(),
    );
    let mut other = ann.elsewhere(92);
    let tried = other.sign_in(script, PASSWORD)?;
    script.hold(
        "before the link was used the account can not be signed in to",
        !came_in(tried),
    );
    let mut bob = Visitor::new(script, "bob");
    bob.sign_up(script)?;
    let home = bob.get(script, "/account")?;
    script.hold("by the link its holder comes in", home.good());
    Ok(())
}

/// Sets up codes by time; the secret, and the code that was used for it.
fn with_codes(script: &mut Script<'_>, who: &mut Visitor) -> Told<Option<(String, String)>> {
    who.get(script, "/account/security")?;
    let page = who.post(script, "/account/security/totp", &[])?;
    let text = page.text();
    let secret = between(&text, "<code id=\"secret\" class=\"all\">", "</code>");
    let id = between(&text, "name=\"id\" value=\"", "\"");
    let (Some(secret), Some(id)) = (secret, id) else {
        return Ok(None);
    };
    let Some(code) = software::code(&secret, script.now()) else {
        return Ok(None);
    };
    let confirmed = who.post(
        script,
        "/account/security/totp/confirm",
        &[("id", &id), ("code", &code)],
    )?;
    Ok(matches!(confirmed.status, 200 | 302 | 303).then_some((secret, code)))
}

/// Makes somebody with a password and codes.
pub(super) fn somebody_with_codes(script: &mut Script<'_>, name: &str) -> Told<(Visitor, String)> {
    let mut who = Visitor::new(script, name);
    who.sign_up(script)?;
    match with_codes(script, &mut who)? {
        Some((secret, _)) => Ok((who, secret)),
        None => Err(Stop::Unknown(
            "The canary could not set up codes by time.".to_owned(),
        )),
    }
}

pub(super) fn codes_by_time(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up(script)?;
    let set_up = with_codes(script, &mut ann)?;
    if !script.hold("an account can set up codes by time", set_up.is_some()) {
        return Ok(());
    }
    let (secret, used) = set_up.unwrap_or_default();
    let code_form = [("kind", "totp")];
    let mut thief = ann.elsewhere(93);
    let half = thief.sign_in(script, PASSWORD)?;
    let asks = half
        .header("location")
        .is_some_and(|to| to.contains("factor"));
    script.hold("after the password the code is asked for", asks);
    let closed = thief.get(script, "/account")?;
    script.hold("the password alone does not sign in", !closed.good());
    thief.get(script, "/sign-in/factor?ways=t")?;
    let replayed = thief.post(
        script,
        "/sign-in/factor",
        &[code_form[0], ("code", &used), ("ways", "t")],
    )?;
    script.hold("a code that was used is refused", !came_in(replayed));
    script.world(World::Turn(60))?;
    let mut home = ann.elsewhere(94);
    home.sign_in(script, PASSWORD)?;
    home.get(script, "/sign-in/factor?ways=t")?;
    // The world's clock moved: the time of the answer is what counts.
    let code = software::code(&secret, script.now()).unwrap_or_default();
    let entered = home.post(
        script,
        "/sign-in/factor",
        &[code_form[0], ("code", &code), ("ways", "t")],
    )?;
    if !script.hold("the next code signs in", came_in(entered)) {
        return Ok(());
    }
    let mut second = ann.elsewhere(95);
    second.sign_in(script, PASSWORD)?;
    second.get(script, "/sign-in/factor?ways=t")?;
    let again = second.post(
        script,
        "/sign-in/factor",
        &[code_form[0], ("code", &code), ("ways", "t")],
    )?;
    script.hold("the same code does not sign in twice", !came_in(again));
    Ok(())
}

pub(super) fn changes_are_mailed(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up(script)?;
    let email = ann.email.clone();
    if with_codes(script, &mut ann)?.is_none() {
        return Err(Stop::Unknown(
            "The canary could not set up codes by time.".to_owned(),
        ));
    }
    let told = script.mail(&email, "codes")?.is_some();
    script.hold("a new factor is told by mail", told);
    ann.get(script, "/account/security")?;
    ann.post(
        script,
        "/account/security/password",
        &[("password", "eleven lamps on a river, all of them blue")],
    )?;
    // Mails about other things speak of passwords as well.
    let told = script.mail(&email, "password was changed")?.is_some();
    script.hold("a new password is told by mail", told);
    let second = "second@an14-canary.example";
    ann.get(script, "/account")?;
    ann.post(script, "/account/addresses", &[("address", second)])?;
    let mail = script.mail(second, "/account/verify-address")?;
    let Some(link) = mail.and_then(|text| link(text, "/account/verify-address")) else {
        script.unknown("a second address can be proved");
        return Ok(());
    };
    let secret = secret_of(&link).unwrap_or_default();
    ann.get(script, &link)?;
    ann.post(script, "/account/verify-address", &[("secret", &secret)])?;
    let told = script.mail(&email, second)?.is_some();
    script.hold("a new address is told at the one before", told);
    Ok(())
}

pub(super) fn guessing_is_stopped(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up(script)?;
    let mut thief = ann.elsewhere(96);
    let mut stopped = None;
    for attempt in 0..ATTEMPTS {
        let tried = thief.sign_in(script, &format!("wrong guess number {attempt}"))?;
        if tried.status == 429 || tried.header("retry-after").is_some() {
            stopped = Some(attempt);
            break;
        }
    }
    if !script.hold("wrong passwords are stopped after a few", stopped.is_some()) {
        return Ok(());
    }
    thief.pretends = Some("203.0.113.7");
    let spoofed = thief.sign_in(script, "one more wrong guess")?;
    script.hold(
        "who says to come from elsewhere is stopped all the same",
        spoofed.status == 429,
    );
    let (bob, _) = somebody_with_codes(script, "bob")?;
    let mut thief = bob.elsewhere(97);
    thief.sign_in(script, PASSWORD)?;
    thief.get(script, "/sign-in/factor?ways=t")?;
    let mut stopped = false;
    for attempt in 0..ATTEMPTS {
        let code = format!("{:06}", 111_111 + attempt);
        let tried = thief.post(
            script,
            "/sign-in/factor",
            &[("kind", "totp"), ("code", &code), ("ways", "t")],
        )?;
        if tried.status == 429 {
            stopped = true;
            break;
        }
    }
    script.hold("wrong codes are stopped after a few", stopped);
    Ok(())
}

pub(super) fn lapsed_domains_recover_nothing(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up(script)?;
    let mut bob = Visitor::new(script, "bob");
    bob.email = "bob@an21-other.example".to_owned();
    bob.sign_up(script)?;
    let domain = ann.email.split('@').nth(1).unwrap_or_default().to_owned();
    // Once is an accident of the name service; it must be seen to last.
    script.world(World::Lapse(domain))?;
    for _ in 0..3 {
        script.world(World::Round("domains".to_owned()))?;
        script.world(World::Turn(2 * 86_400))?;
    }
    for who in [&ann, &bob] {
        let mut stranger = who.elsewhere(98);
        stranger.get(script, "/forgotten")?;
        stranger.post(script, "/forgotten", &[("who", &who.name)])?;
    }
    let good = script
        .mail(&bob.email, "/account/reset-password")?
        .is_some();
    if !good {
        return Err(Stop::Unknown(
            "No mail for a new password came even where the domain is in order.".to_owned(),
        ));
    }
    let bad = script
        .mailbox(&ann.email, "/account/reset-password")?
        .is_some();
    script.hold(
        "an address whose domain lapsed is sent no link that recovers the account",
        !bad,
    );
    Ok(())
}

pub(super) fn passkeys_sign_in(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up_with_passkey(script)?;
    script.hold("an account can have a passkey", true);
    let mut home = ann.elsewhere(99);
    let entered = home.sign_in_with_passkey(script, true)?;
    script.hold("the passkey signs in", came_in(entered));
    Ok(())
}

pub(super) fn passkeys_need_verification(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up_with_passkey(script)?;
    let mut thief = ann.elsewhere(100);
    let refused = thief.sign_in_with_passkey(script, false)?;
    script.hold(
        "a key that did not check its holder does not sign in",
        !came_in(refused),
    );
    let mut home = ann.elsewhere(101);
    let entered = home.sign_in_with_passkey(script, true)?;
    script.hold(
        "a passkey signs in without name and password",
        came_in(entered),
    );
    Ok(())
}

/// Puts a password into the list that the registry asks: the protocol gives all that share the first digits of a hash.
fn breached(script: &mut Script<'_>, password: &str) -> Told<()> {
    let digest = hex::encode_upper(sha1::Sha1::digest(password.as_bytes()));
    let (begin, rest) = digest.split_at(5);
    script
        .world(World::Publish {
            url: format!("https://api.pwnedpasswords.com/range/{begin}"),
            body: format!("{rest}:4711\r\n"),
        })
        .map(drop)
}

pub(super) fn breached_password_at_sign_in(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    ann.sign_up(script)?;
    let password = "a password that leaks only later, somewhere else";
    ann.get(script, "/account/security")?;
    ann.post(
        script,
        "/account/security/password",
        &[("password", password)],
    )?;
    let mut before = ann.elsewhere(102);
    let entered = before.sign_in(script, password)?;
    if entered.header("location") != Some("/account") {
        return Err(Stop::Unknown(
            "The canary could not sign in with its password.".to_owned(),
        ));
    }
    breached(script, password)?;
    let mut after = ann.elsewhere(103);
    let entered = after.sign_in(script, password)?;
    let asked = entered
        .header("location")
        .is_some_and(|to| to.starts_with("/account/security"));
    let said = script.mail(&ann.email, "stolen passwords")?.is_some();
    script.hold(
        "who signs in with a password that leaked is made to change it, or told to",
        asked || said,
    );
    Ok(())
}

pub(super) fn breached_password_is_refused(script: &mut Script<'_>) -> Told<()> {
    let mut ann = Visitor::new(script, "ann");
    let link = ann.ask_for_account(script)?.unwrap_or_default();
    let page = ann.get(script, &link)?.text();
    let secret = between(&page, "name=\"secret\" value=\"", "\"").unwrap_or_default();
    if secret.is_empty() {
        return Err(Stop::Unknown(
            "The canary found no form to choose a password.".to_owned(),
        ));
    }
    let leaked = "forty sheep behind a yellow wall";
    breached(script, leaked)?;
    breached(script, "Password123!")?;
    for password in ["Password123!", "password", leaked] {
        let tried = ann.post(
            script,
            "/enrol/password",
            &[("secret", &secret), ("password", password)],
        )?;
        script.hold(&format!("{password:?} is refused"), tried.refused());
    }
    let taken = ann.post(
        script,
        "/enrol/password",
        &[("secret", &secret), ("password", PASSWORD)],
    )?;
    script.hold(
        "a good password is taken",
        matches!(taken.status, 302 | 303),
    );
    Ok(())
}
